import { describe, expect, test } from "vitest";
import { DEFAULT_TIMING } from "../../../src/coordinator/core/settings.ts";
import { type ErrorCode, EvergrantError } from "../../../src/protocol/errors.ts";
import { durationMs, epochMs, seconds } from "../../../src/protocol/time.ts";
import { aProvider, CoreRig, HOUR, type IssuerCall, RigStores } from "../../support/core-rig.ts";

const MINUTE = 60_000;
const times = (calls: readonly IssuerCall[]): number[] => calls.map((call) => call.atMs);
const gaps = (calls: readonly IssuerCall[]): number[] =>
  calls.slice(1).map((call, i) => call.atMs - (calls[i]?.atMs ?? 0));

describe("scheduled renewals", () => {
  test("one call at the start, and one at each 75 % of the lifetime less at most 2 %", () => {
    const rig = new CoreRig().start();
    rig.run(10 * HOUR);
    expect(rig.calls.map((call) => call.reason)).toEqual([
      "initial",
      ...Array.from({ length: 13 }, () => "scheduled"),
    ]);
    for (const gap of gaps(rig.calls)) {
      expect(gap).toBeGreaterThanOrEqual(0.73 * HOUR);
      expect(gap).toBeLessThanOrEqual(0.75 * HOUR);
    }
    const counts = rig.stores.state.value?.providers["lake"]?.counts;
    expect(counts).toMatchObject({ calls: 14, obtained: 14, failures: 0, recoveries: 0 });
  });

  test("the lifetime that the issuer returned counts, whatever it is", () => {
    const rig = new CoreRig({ issue: () => 15 * MINUTE }).start();
    rig.run(HOUR);
    for (const gap of gaps(rig.calls)) expect(gap).toBeLessThanOrEqual(0.75 * 15 * MINUTE);
    expect(rig.calls).toHaveLength(6);
  });

  test("I4: lifetimes of 20 s are renewed for an hour without a gap: the bound on calls leaves the plan alone", () => {
    const rig = new CoreRig({ issue: () => 20_000, settings: { ratio: 0.4 } }).start();
    rig.run(HOUR);
    expect(rig.calls.length).toBeGreaterThan(440);
    expect(Math.max(...gaps(rig.calls))).toBeLessThanOrEqual(8000);
  });

  test("without a queue the watchdog renews, at most its grace late", () => {
    const rig = new CoreRig({ queue: false }).start();
    rig.run(4 * HOUR);
    expect(rig.calls).toHaveLength(6);
    for (const gap of gaps(rig.calls)) {
      expect(gap).toBeGreaterThan(0.73 * HOUR);
      expect(gap).toBeLessThanOrEqual(0.75 * HOUR + DEFAULT_TIMING.watchdogGrace);
    }
  });

  test("a due that comes early waits for the planned moment; stale, foreign and doubled ones do nothing", () => {
    const rig = new CoreRig({ queue: false }).start();
    rig.run(10 * MINUTE);
    const due = (provider: string, generation: number, attempt: number) =>
      rig.send({ kind: "due", attempt: { provider, generation, attempt } });
    due("lake", 1, 0);
    due("lake", 1, 0);
    due("lake", 0, 0);
    due("lake", 1, 3);
    due("nobody", 1, 0);
    expect(rig.calls).toHaveLength(1);
    rig.run(35 * MINUTE);
    expect(rig.calls).toHaveLength(2);
    expect(rig.calls[1]?.atMs).toBeLessThanOrEqual(0.75 * HOUR);
    due("lake", 1, 0);
    expect(rig.calls).toHaveLength(2);
  });

  test("an issuer that hands out what is nearly over is asked at the ladder's pace, not at once", () => {
    const rig = new CoreRig({
      issue: ({ wallMs }) => ({
        expiresAt: epochMs(wallMs + 2000),
        issuedAt: epochMs(wallMs - HOUR),
      }),
    }).start();
    rig.run(10 * MINUTE - 1);
    expect(rig.calls.length).toBeLessThanOrEqual(40);
    expect(rig.calls.length).toBeGreaterThan(30);
    expect(Math.min(...gaps(rig.calls))).toBeGreaterThanOrEqual(1000);
  });
});

describe("retries", () => {
  /** Fails from the second call on: a credential is held all the while. */
  const failing = (code: ErrorCode, from = 1) =>
    new CoreRig({ issue: () => (rig_calls() > from ? code : HOUR) });
  let current: CoreRig;
  const rig_calls = (): number => current.calls.length;
  const started = (make: () => CoreRig): CoreRig => {
    current = make();
    return current.start();
  };

  test("transient: the ladder from 5 s to 5 min, then a third of what is left, then from 5 s again", () => {
    const rig = started(() => failing("ISSUER_UNAVAILABLE"));
    rig.run(HOUR - 1);
    const held = gaps(rig.calls.slice(1));
    expect(held[0]).toBeGreaterThanOrEqual(2500);
    expect(held[0]).toBeLessThanOrEqual(7500);
    expect(Math.max(...held)).toBeLessThanOrEqual(450_000);
    expect(Math.min(...held)).toBeGreaterThanOrEqual(1000);
    const before = rig.calls.length;
    // 15 min of failures: the ladder, then thirds of what is left down to a second.
    expect(before).toBeGreaterThanOrEqual(12);
    expect(before).toBeLessThanOrEqual(40);
    rig.run(20_000);
    expect(rig.calls.length - before).toBeGreaterThanOrEqual(1);
  });

  test("transient for a day: the count stays that of a ladder, and the success ends it", () => {
    const rig = started(() => failing("ISSUER_THROTTLED", 0));
    rig.run(24 * HOUR);
    // 24 h / 5 min = 288, +-50 % each, and the first rungs.
    expect(rig.calls.length).toBeGreaterThan(250);
    expect(rig.calls.length).toBeLessThan(340);
    rig.issue = () => HOUR;
    rig.run(450_000);
    const counts = rig.stores.state.value?.providers["lake"]?.counts;
    expect(counts?.obtained).toBe(1);
    expect(counts?.calls).toBe(rig.calls.length);
    expect(counts?.failures).toBe(rig.calls.length - 1);
  });

  test("identity: once more after a second with a fresh identity, then every 5 min", () => {
    const rig = started(() => failing("ISSUER_IDENTITY_REJECTED"));
    rig.run(0.73 * HOUR);
    rig.run((rig.status().providers[0]?.nextAttemptInMs ?? 0) + 2000);
    expect(rig.calls).toHaveLength(3);
    expect(rig.calls[1]?.freshIdentity).toBe(false);
    expect(rig.calls[2]?.freshIdentity).toBe(true);
    expect(gaps(rig.calls)[1]).toBe(1000);
    rig.run(298_000);
    expect(rig.calls).toHaveLength(3);
    rig.run(2000);
    expect(rig.calls).toHaveLength(4);
  });

  test("denied and invalid: every 5 min or a third of what is left, and for ever", () => {
    for (const code of ["ISSUER_DENIED", "ISSUER_REQUEST_INVALID"] as const) {
      const rig = started(() => failing(code));
      rig.run(0.73 * HOUR);
      rig.run(rig.status().providers[0]?.nextAttemptInMs ?? 0);
      expect(rig.calls).toHaveLength(2);
      rig.run(299_000);
      expect(rig.calls).toHaveLength(2);
      rig.run(2000);
      expect(rig.calls).toHaveLength(3);
      rig.run(24 * HOUR);
      expect(gaps(rig.calls).at(-1)).toBe(300_000);
      expect(rig.status().warnings.join()).toContain(code);
    }
  });

  test("an expiry that is past, or missing, is an error; a missing one with an assumed life is none", () => {
    const past = new CoreRig({ issue: () => -1000 }).start();
    past.run(1);
    expect(past.status().providers[0]?.lastError?.code).toBe("ISSUER_EXPIRY_PAST");
    const missing = new CoreRig({ issue: () => ({ expiresAt: undefined }) }).start();
    missing.run(1);
    expect(missing.status().providers[0]?.lastError?.code).toBe("ISSUER_EXPIRY_MISSING");
    const assumed = new CoreRig({
      issue: () => ({ expiresAt: undefined }),
      settings: { providers: [aProvider({ assumedLifetime: seconds(1200) })] },
    }).start();
    assumed.run(HOUR);
    expect(gaps(assumed.calls).every((gap) => gap <= 900_000)).toBe(true);
    expect(assumed.status().providers[0]?.state).toBe("fresh");
  });

  test("I11: a failure at each call never means two calls in a second or 41 in ten minutes", () => {
    const rig = started(
      () =>
        new CoreRig({
          issue: () => (rig_calls() % 2 === 0 ? "ISSUER_IDENTITY_REJECTED" : "ISSUER_TIMEOUT"),
        }),
    );
    rig.run(3 * HOUR);
    const at = times(rig.calls);
    at.forEach((t, i) => {
      expect((at[i + 1] ?? Infinity) - t).toBeGreaterThanOrEqual(1000);
      expect((at[i + 40] ?? Infinity) - t).toBeGreaterThanOrEqual(600_000);
    });
  });

  test("a part that goes on failing climbs the ladder and leaves calls for the whole", () => {
    const rig = new CoreRig({
      issue: ({ wallMs }) => ({
        expiresAt: epochMs(wallMs + HOUR),
        problem: new EvergrantError("ISSUER_UNAVAILABLE", "a part"),
      }),
    }).start();
    rig.run(10 * MINUTE);
    expect(rig.calls.length).toBeGreaterThan(4);
    expect(rig.calls.length).toBeLessThan(12);
  });

  test("I6: a provider that fails neither delays nor repeats another's renewals", () => {
    const alone = new CoreRig().start();
    alone.run(5 * HOUR);
    const rig = new CoreRig({
      settings: { providers: [aProvider(), aProvider({ name: "bad" })] },
      issue: ({ provider }) => (provider === "bad" ? "ISSUER_DENIED" : HOUR),
    }).start();
    rig.run(5 * HOUR);
    expect(times(rig.callsOf("lake"))).toEqual(times(alone.calls));
    expect(rig.callsOf("bad").length).toBeGreaterThan(50);
  });
});

describe("demands", () => {
  const demand = (rig: CoreRig, agent: string, rejected: number) =>
    rig.report(agent, "i", { type: "demand", provider: "lake", rejected });

  test("a thousand demands for one generation are one call", () => {
    const rig = new CoreRig().start();
    rig.run(MINUTE);
    for (let i = 0; i < 1000; i += 1) demand(rig, `a${i}`, 1);
    rig.run(MINUTE);
    expect(rig.calls.map((call) => call.reason)).toEqual(["initial", "demand"]);
    expect(rig.calls[1]?.replace).toBe(true);
  });

  test("one agent's demand counts once for each generation, and a stale one not at all", () => {
    const rig = new CoreRig().start();
    rig.run(MINUTE);
    demand(rig, "a", 1);
    demand(rig, "a", 1);
    demand(rig, "b", 0);
    rig.run(MINUTE);
    expect(rig.calls).toHaveLength(2);
  });

  test("the cooldown doubles from 10 s to 5 min while agents go on demanding", () => {
    const rig = new CoreRig().start();
    rig.run(MINUTE);
    for (let second = 0; second < 3600; second += 1) {
      const { generation } = rig.status();
      demand(rig, `a${second}`, generation);
      rig.run(1000);
    }
    const waits = gaps(rig.calls.filter((call) => call.reason === "demand"));
    expect(waits.slice(0, 5)).toEqual([10_000, 20_000, 40_000, 80_000, 160_000]);
    expect(waits.slice(5).every((wait) => wait === 300_000)).toBe(true);
  });

  test("a demand never postpones an earlier renewal", () => {
    const rig = new CoreRig().start();
    rig.run(0.7 * HOUR);
    demand(rig, "a", 1);
    const { generation } = rig.status();
    expect(generation).toBe(2);
    demand(rig, "b", 2);
    rig.run(HOUR);
    expect(rig.calls[1]?.reason).toBe("demand");
    expect(rig.calls[2]?.atMs).toBeLessThanOrEqual((rig.calls[1]?.atMs ?? 0) + 10_000);
  });

  /** A successor whose clock is an hour behind, under a credential of an hour that is 10 min old. */
  function behind(): CoreRig {
    const stores = new RigStores();
    const first = new CoreRig({ stores }).start();
    first.run(10 * MINUTE);
    first.send({ kind: "hand-over" });
    const startMs = first.nowMs - HOUR;
    return new CoreRig({ stores, startMs, settings: { holder: "c2" } }).start();
  }
  const beat = (rig: CoreRig, minutesLeft: number): void =>
    rig.report("a", "i", { type: "beat", runwayMs: { lake: minutesLeft * MINUTE } });

  test("I4: a successor whose clock is behind renews when it is due by its agents' measure", () => {
    const rig = behind();
    for (let left = 50; left > 15; left -= 1) {
      beat(rig, left);
      rig.run(MINUTE);
    }
    expect(rig.calls).toEqual([]);
    beat(rig, 15);
    beat(rig, 14);
    rig.run(0);
    expect(rig.calls.map((call) => call.reason)).toEqual(["demand"]);
  });

  test("negative control: without an agent's word the plan of that clock comes too late", () => {
    const rig = behind();
    rig.run(50 * MINUTE);
    expect(rig.calls).toEqual([]);
  });

  test("a runway that ends after the planned attempt, or when we know it does, demands nothing", () => {
    const rig = new CoreRig().start();
    rig.run(MINUTE);
    beat(rig, 58.6); // within the skew bound of ours
    beat(rig, 50); // below ours, and not due for a while
    expect(rig.calls).toHaveLength(1);
    rig.issue = () => "ISSUER_UNAVAILABLE";
    rig.run(2 * HOUR);
    const { length } = rig.calls;
    beat(rig, 0); // expired here as there: the ladder goes on
    expect(rig.calls).toHaveLength(length);
  });

  test("an operator's rotation during the cooldown is deferred, not refused", () => {
    const rig = new CoreRig().start();
    rig.run(MINUTE);
    rig.command({ kind: "rotate", text: "first" });
    rig.command({ kind: "rotate", text: "second" });
    expect(rig.calls).toHaveLength(2);
    rig.run(10_000);
    expect(rig.calls.map((call) => call.reason)).toEqual(["initial", "forced", "forced"]);
  });
});

describe("adoption", () => {
  test("a restarted coordinator takes up what is fresh without a call, with the same plan", () => {
    const stores = new RigStores();
    const first = new CoreRig({ stores }).start();
    first.run(10 * MINUTE);
    first.send({ kind: "hand-over" });
    expect(first.finished).toBe("handed-over");
    const second = new CoreRig({
      stores,
      startMs: first.nowMs,
      settings: { holder: "c2" },
    }).start();
    second.run(20 * MINUTE);
    expect(second.calls).toHaveLength(0);
    expect(second.status()).toMatchObject({ phase: "leading", ready: true, generation: 1 });
    second.run(15 * MINUTE);
    expect(second.calls).toHaveLength(1);
    const plain = new CoreRig().start();
    plain.run(HOUR);
    const at = (second.calls[0]?.atMs ?? 0) + 10 * MINUTE;
    expect(Math.abs(at - (plain.calls[1]?.atMs ?? 0))).toBeLessThanOrEqual(1);
  });

  test("a changed configuration obtains anew at start, reason `config`", () => {
    const stores = new RigStores();
    const first = new CoreRig({ stores }).start();
    first.send({ kind: "hand-over" });
    const second = new CoreRig({
      stores,
      startMs: first.nowMs + MINUTE,
      settings: { holder: "c2", providers: [aProvider({ configDigest: "c2" })] },
    }).start();
    second.run(1000);
    expect(second.calls.map((call) => call.reason)).toEqual(["config"]);
    expect(stores.state.value?.providers["lake"]?.configDigest).toBe("c2");
  });

  test("a provider that is no longer configured is taken back from the agents by a tombstone", () => {
    const stores = new RigStores();
    const providers = [aProvider(), aProvider({ name: "old" })];
    const first = new CoreRig({ stores, settings: { providers } }).start();
    first.send({ kind: "hand-over" });
    const second = new CoreRig({
      stores,
      startMs: first.nowMs + MINUTE,
      settings: { holder: "c2" },
    }).start();
    second.run(1000);
    expect(second.calls).toHaveLength(0);
    expect(stores.bundle.value?.tombstones.map((t) => t.provider)).toEqual(["old"]);
    expect(stores.bundle.value?.credentials.map((c) => c.provider)).toEqual(["lake"]);
  });

  test("no double issue: an open intent is waited out, then obtained with reason `recovery` and counted", () => {
    const stores = new RigStores();
    const first = new CoreRig({ stores, issue: () => "hang" }).start();
    expect(first.calls).toHaveLength(1);
    expect(stores.state.value?.providers["lake"]?.intent).toBeDefined();
    const second = new CoreRig({
      stores,
      startMs: first.nowMs,
      settings: { holder: "c2" },
    }).start();
    second.run(60 * MINUTE);
    const { leaseTtl, leaseMargin } = DEFAULT_TIMING;
    expect(second.calls[0]?.reason).toBe("recovery");
    expect(second.calls[0]?.atMs).toBeGreaterThanOrEqual(leaseTtl + leaseMargin + 10_000);
    expect(second.calls[0]?.atMs).toBeLessThanOrEqual(leaseTtl + leaseMargin + 13_000);
    const counts = stores.state.value?.providers["lake"]?.counts;
    expect(counts).toMatchObject({ recoveries: 1, calls: second.calls.length + 1 });
  });

  test("the first lease write is the fence: a holder past its deadline calls nobody", () => {
    const rig = new CoreRig({ issue: () => 10 * MINUTE }).start();
    rig.run(MINUTE);
    rig.stores.lease.away = true;
    rig.run(HOUR);
    expect(rig.calls).toHaveLength(1);
    expect(rig.status().phase).toBe("seeking");
    rig.stores.lease.away = false;
    rig.run(MINUTE);
    expect(rig.status().phase).toBe("leading");
    expect(rig.calls.length).toBeGreaterThanOrEqual(2);
  });

  test("skew is taken off the safety margin: the plan moves forward by it", () => {
    const plan = (skewMs: number): number => {
      const rig = new CoreRig({
        settings: { providers: [aProvider({ minRemaining: durationMs(16 * MINUTE) })] },
        issue: ({ wallMs }) => {
          const issuer = wallMs + skewMs;
          return { issuerTime: epochMs(issuer), expiresAt: epochMs(issuer + HOUR) };
        },
      }).start();
      return rig.status().providers[0]?.nextAttemptInMs ?? 0;
    };
    const none = plan(0);
    expect(none).toBeLessThanOrEqual(44 * MINUTE);
    expect(plan(60_000)).toBeLessThanOrEqual(none - 60_000);
    expect(plan(-60_000)).toBeLessThanOrEqual(none - 50_000);
  });
});
