import { describe, expect, test } from "vitest";
import { DEFAULT_TIMING } from "../../../src/coordinator/core/settings.ts";
import { CoreRig, HOUR, RigStores } from "../../support/core-rig.ts";

const TAKEOVER = DEFAULT_TIMING.leaseTtl + DEFAULT_TIMING.leaseMargin;

const pair = (): { stores: RigStores; first: CoreRig; second: CoreRig } => {
  const stores = new RigStores();
  const first = new CoreRig({ stores }).start();
  const second = new CoreRig({ stores, startMs: first.nowMs, settings: { holder: "c2" } }).start();
  return { stores, first, second };
};

describe("takeover", () => {
  test("a standby takes over when the lease has not moved for 30 s + 5 s, under a higher term, without a call", () => {
    const { first, second } = pair();
    const { term } = first.status();
    second.run(TAKEOVER - 100);
    expect(second.status().phase).toBe("waiting");
    second.run(2500);
    expect(second.status()).toMatchObject({ phase: "leading", generation: 1 });
    expect(second.status().term).toBeGreaterThan(term);
    expect(second.calls).toHaveLength(0);
  });

  test("while the holder renews nobody takes over, and each renewal is one write", () => {
    const { stores, first, second } = pair();
    const before = stores.lease.writes;
    for (let at = 0; at < HOUR / 10; at += 1000) {
      first.run(1000);
      second.run(1000);
    }
    expect(second.status().phase).toBe("waiting");
    expect(stores.lease.writes - before).toBe(36);
  });

  test("a released lease is taken at once", () => {
    const { first, second } = pair();
    second.run(1000);
    first.send({ kind: "hand-over" });
    expect(first.finished).toBe("handed-over");
    second.run(DEFAULT_TIMING.leaseWatch);
    expect(second.status().phase).toBe("leading");
    expect(second.calls).toHaveLength(0);
  });

  test("I5: a holder that slept past its lease is fenced before it acts", () => {
    const { stores, first, second } = pair();
    second.run(HOUR);
    const { writes } = stores.state;
    first.nowMs += HOUR;
    first.send({ kind: "tick" });
    expect(first.calls).toHaveLength(1);
    expect(stores.state.writes).toBe(writes);
    first.run(3000);
    expect(first.status().phase).toBe("waiting");
  });

  test("I11: a successor waits a second after a predecessor's failure", () => {
    const stores = new RigStores();
    const first = new CoreRig({ stores, issue: () => "ISSUER_UNAVAILABLE" }).start();
    first.send({ kind: "hand-over" });
    const second = new CoreRig({ stores, startMs: first.nowMs, settings: { holder: "c2" } });
    second.start();
    expect(second.calls).toHaveLength(0);
    second.run(1000);
    expect(second.calls).toHaveLength(1);
  });
});

describe("stores that lose data", () => {
  test("the holder rewrites lease, state and bundle from memory, with no call", () => {
    const { stores, first } = pair();
    for (const store of [stores.lease, stores.state, stores.bundle]) store.wipe("second");
    first.run(DEFAULT_TIMING.leaseRenew + 2000);
    expect(stores.lease.value?.holder).toBe("c1");
    expect(stores.state.value?.generation).toBe(1);
    expect(stores.bundle.value?.credentials).toHaveLength(1);
    expect(first.calls).toHaveLength(1);
  });

  test("a standby that sees the lease vanish waits for the holder to rewrite it", () => {
    const { stores, second } = pair();
    second.run(3000);
    for (const store of [stores.lease, stores.state, stores.bundle]) store.wipe("second");
    second.run(TAKEOVER - DEFAULT_TIMING.leaseWatch);
    expect(second.status().phase).toBe("waiting");
    second.run(2 * DEFAULT_TIMING.leaseWatch);
    expect(second.status().phase).toBe("leading");
    expect(second.calls.map((call) => call.reason)).toEqual(["initial"]);
  });

  test("a term grows over every known one, also when an agent alone remembers it", () => {
    const rig = new CoreRig().start();
    const { term } = rig.status();
    rig.register("a", "i", { highest: { term: term + 1000, generation: 7 } });
    rig.run(1000);
    expect(rig.status().term).toBeGreaterThan(term + 1000);
    expect(rig.calls).toHaveLength(1);
  });

  test("a higher term that can't be taken puts the lease down, with no write in a circle", () => {
    const { stores, first } = pair();
    const { term } = first.status();
    const other = { holder: "c9", term: term + 5, renewals: 0, state: "held" as const };
    stores.lease.write(stores.lease.revision, other);
    const effects = first.effects.length;
    first.register("a", "i", { highest: { term: term + 5, generation: 7 } });
    first.run(5000);
    expect(first.status().phase).toBe("waiting");
    expect(first.effects.length - effects).toBeLessThan(30);
  });
});

test("I7: where lost stores began generations anew, what was applied before counts for nothing", () => {
  const stores = new RigStores();
  const first = new CoreRig({ stores }).start();
  first.register("a", "i");
  first.report("a", "i", { applied: true });
  first.run(5000);
  first.report("a", "i", { applied: true, generation: 22 });
  for (const store of [stores.lease, stores.state, stores.bundle]) store.wipe("second");
  stores.lease.away = true;
  first.run(TAKEOVER);
  const other = new CoreRig({ stores, startMs: first.nowMs, settings: { holder: "c2" } });
  stores.lease.away = false;
  other.start();
  other.run(1000);
  other.send({ kind: "hand-over" });
  first.run(5000);
  expect(first.status().phase).toBe("leading");
  const asked = first.command({ kind: "rotate", text: "anew" });
  first.run(60_000);
  const id = asked?.kind === "rotation" ? asked.rotation.id : "";
  first.report("a", "i", { applied: false });
  const answer = first.command({ kind: "rotation", id });
  expect(answer).toMatchObject({ rotation: { state: "delivering", missing: ["a"] } });
});

describe("writes whose answer is lost", () => {
  test("a state write that went through unheard is found by its nonce, and not done again", () => {
    const rig = new CoreRig().start();
    const { writes } = rig.stores.state;
    rig.stores.state.loseAnswer = true;
    rig.command({ kind: "rotate", text: "why not" });
    rig.run(5000);
    // The intent unheard, then the result.
    expect(rig.stores.state.writes - writes).toBe(2);
    expect(rig.calls).toHaveLength(2);
    expect(rig.status()).toMatchObject({ phase: "leading", generation: 2 });
  });

  test("one of a former term that is found stored does not stand for the new one", () => {
    const rig = new CoreRig().start();
    const { lease, state } = rig.stores;
    rig.run(1000);
    state.loseAnswer = true;
    rig.command({ kind: "rotate", text: "the intent is written unheard" });
    state.away = true;
    lease.away = true;
    rig.run(TAKEOVER);
    expect(rig.status().phase).toBe("seeking");
    state.away = false;
    lease.away = false;
    rig.run(20_000);
    expect(rig.status().phase).toBe("leading");
    expect(state.value?.term).toBe(rig.status().term);
  });
});

describe("the end of the job", () => {
  test("leaves a tombstone in the lease at which a standby ends", () => {
    const { stores, first, second } = pair();
    first.send({ kind: "end" });
    expect(first.finished).toBe("ended");
    expect(stores.lease.value?.state).toBe("ended");
    second.run(3000);
    expect(second.finished).toBe("ended");
    expect(second.calls).toHaveLength(0);
  });

  test("the tombstone stands also where the lease was being renewed, or its first write is lost", () => {
    const { stores, first } = pair();
    stores.lease.loseAnswer = true;
    first.run(DEFAULT_TIMING.leaseRenew);
    first.send({ kind: "end" });
    first.run(5000);
    expect(stores.lease.value?.state).toBe("ended");
    const other = pair();
    other.stores.lease.away = true;
    other.first.send({ kind: "end" });
    other.first.run(3000);
    other.stores.lease.away = false;
    other.first.run(5000);
    expect(other.stores.lease.value?.state).toBe("ended");
    expect(other.first.finished).toBe("ended");
  });

  test("goodbye comes before the tombstone, and what can be cancelled is cancelled once", () => {
    const { first } = pair();
    const before = first.effects.length;
    first.send({ kind: "end" });
    first.send({ kind: "end" });
    const order = first.effects
      .slice(before)
      .map((effect) => effect.kind)
      .filter((kind) => !["log", "audit"].includes(kind));
    expect(order).toEqual(["notify", "write-lease", "remove-keys", "obliterate-queue", "finished"]);
  });
});

test("a queue that is late while the lease is short of the call's time: said once, called once, nothing in a circle", () => {
  const rig = new CoreRig({ queue: false }).start();
  rig.run(0.5 * HOUR);
  const planned = rig.status().providers[0]?.nextAttemptInMs ?? 0;
  rig.run(planned + DEFAULT_TIMING.watchdogGrace - 17_000);
  rig.stores.lease.away = true;
  rig.run(18_000);
  expect(rig.calls).toHaveLength(1);
  rig.stores.lease.away = false;
  rig.run(10_000);
  expect(rig.calls).toHaveLength(2);
  const late = rig.effectsOf("log").filter(({ message }) => message.includes("queue is late"));
  expect(late).toHaveLength(1);
});
