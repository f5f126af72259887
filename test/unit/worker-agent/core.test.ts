import { describe, expect, it } from "vitest";
import { DEFAULT_TIMINGS, unitHash, waitOf } from "../../../src/worker-agent/core/settings.ts";
import { broken, fine, HOUR, World } from "./world.ts";

const v = (term: number, generation: number) => ({ term, generation });

function joined(settings: ConstructorParameters<typeof World>[0] = {}) {
  const world = new World(settings);
  const first = world.bundle(v(10, 1), [world.credential("lake", 1)]);
  world.join(first);
  return { world, first };
}

describe("joining", () => {
  it("registers only once it is subscribed, with the highest version that it knows", () => {
    const world = new World({ highest: v(7, 3), ticket: "kept" });
    expect(world.registers).toHaveLength(0);
    world.connect();
    expect(world.registers).toMatchObject([{ highest: v(7, 3), ticket: "kept" }]);
  });

  it("tries again on a ladder of 1 s doubling to 30 s, forever", () => {
    const world = new World();
    world.connect();
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 9; attempt += 1) {
      expect(world.registers).toHaveLength(attempt);
      const before = world.clock.now().mono;
      world.fail("NO_COORDINATOR");
      world.clock.advanceToNext();
      waits.push(world.clock.now().mono - before);
    }
    waits.forEach((wait, index) => {
      const nominal = Math.min(1000 * 2 ** index, 30_000);
      expect(wait).toBeGreaterThanOrEqual(nominal * 0.8);
      expect(wait).toBeLessThanOrEqual(nominal * 1.2);
    });
  });

  it.each(["JOIN_TOKEN_INVALID", "JOIN_TOKEN_EXPIRED", "JOIN_TOKEN_EXHAUSTED", "A_NEW_CODE"])(
    "goes on trying after %s, since the join file may be rewritten",
    (code) => {
      const world = new World();
      world.connect();
      world.refuse(code);
      world.clock.advance(1300);
      expect(world.registers).toHaveLength(2);
    },
  );

  it("speaks with the token again once its ticket is refused", () => {
    const world = new World({ ticket: "of another job key" });
    world.connect();
    world.refuse("JOIN_TOKEN_INVALID");
    world.clock.advance(1300);
    expect(world.registers.map(({ ticket }) => ticket)).toEqual(["of another job key", undefined]);
  });

  it("stops trying when it is banned, and serves what it holds until that expires", () => {
    const { world } = joined();
    world.notice({ kind: "rekey", kid: "k2" }, 10, 1);
    world.clock.advance(1000);
    world.refuse("AGENT_BANNED");
    const asked = world.registers.length;
    world.clock.advance(HOUR / 2);
    expect(world.registers).toHaveLength(asked);
    expect(world.does("withdraw")).toHaveLength(0);
    expect(world.driver.health().joining).toBe("banned");
    world.clock.advance(HOUR / 2);
    expect(world.does("withdraw")).toHaveLength(1);
  });

  it("does not register while it is disconnected", () => {
    const world = new World();
    world.connect();
    world.link({ kind: "disconnected" });
    world.fail("BROKER_UNAVAILABLE");
    world.clock.advance(60_000);
    expect(world.registers).toHaveLength(1);
    world.connect();
    expect(world.registers).toHaveLength(2);
  });

  it("opens what was broadcast while its registration was under way", () => {
    const world = new World();
    world.connect();
    const old = world.bundle(v(10, 1), [world.credential("lake", 1)]);
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    world.accept(old, old);
    expect(world.driver.health().generation).toBe(2);
  });
});

describe("order", () => {
  it("I1: takes nothing at or below what it has accepted, and counts what is below", () => {
    const { world, first } = joined();
    world.broadcast(world.bundle(v(10, 3), [world.credential("lake", 3)]));
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    world.broadcast(world.bundle(v(9, 9), [world.credential("lake", 9)]));
    world.broadcast(first);
    expect(world.driver.health()).toMatchObject(v(10, 3));
    expect(world.does("apply").map(({ serving }) => serving?.credential.generation)).toEqual([
      1, 3,
    ]);
    expect(world.refused("MESSAGE_REPLAYED")).toBe(3);
  });

  it("I1: takes nothing below the register reply, even when it holds nothing yet", () => {
    const world = new World();
    world.connect();
    world.accept(v(10, 5));
    world.broadcast(world.bundle(v(10, 4), [world.credential("lake", 4)]));
    expect(world.driver.health().generation).toBe(0);
    world.broadcast(world.bundle(v(10, 5), [world.credential("lake", 5)]));
    expect(world.driver.health().generation).toBe(5);
  });

  it("I1: takes after a restart what it had before, but nothing older", () => {
    const world = new World({ highest: v(10, 5) });
    world.connect();
    world.accept(v(9, 1), world.bundle(v(9, 1), [world.credential("lake", 1)]));
    expect(world.driver.health().generation).toBe(0);
    world.broadcast(world.bundle(v(10, 5), [world.credential("lake", 5)]));
    expect(world.driver.health().generation).toBe(5);
  });

  it("I1: applies nothing before the state folder has answered for its version", () => {
    const world = new World({ persistent: true });
    world.storeAnswers = false;
    world.join(world.bundle(v(10, 1), [world.credential("lake", 1)]));
    expect(world.does("apply")).toHaveLength(0);
    world.persisted.at(-1)?.done(fine);
    expect(world.does("apply")).toHaveLength(1);
    expect(world.persisted.at(-1)).toMatchObject({ highest: v(10, 1), ticket: "ticket-1" });
  });

  it("goes on serving when the state folder's disk fails", () => {
    const world = new World({ persistent: true });
    world.storeAnswers = false;
    world.join(world.bundle(v(10, 1), [world.credential("lake", 1)]));
    world.persisted.at(-1)?.done(broken("FILE_UNUSABLE"));
    expect(world.acks()).toHaveLength(1);
    expect(world.news).toContainEqual({ kind: "unpersisted", code: "FILE_UNUSABLE" });
  });
});

describe("content", () => {
  it("re-runs no receiver for a new term alone, and acks it all the same", () => {
    const { world, first } = joined();
    world.broadcast({ ...first, term: 11 });
    expect(world.does("apply")).toHaveLength(1);
    expect(world.acks().map(({ term }) => term)).toEqual([10, 11]);
  });

  it("re-runs only the receiver of the provider that changed", () => {
    const world = new World();
    const [lake, sea] = [world.credential("lake", 1), world.credential("sea", 1)];
    world.join(world.bundle(v(10, 1), [lake, sea]));
    world.broadcast(world.bundle(v(10, 2), [lake, world.credential("sea", 2)]));
    expect(world.does("apply").map(({ receiver }) => receiver)).toEqual([
      "probe/lake",
      "probe/sea",
      "probe/sea",
    ]);
  });

  it("re-runs a receiver when only the expiry has moved", () => {
    const { world } = joined();
    const longer = world.credential("lake", 2, 2 * HOUR, "secret-lake-1");
    world.broadcast(world.bundle(v(10, 2), [longer]));
    expect(world.does("apply")).toHaveLength(2);
  });

  it("keeps a credential that is absent from a newer bundle", () => {
    const { world } = joined();
    world.broadcast(world.bundle(v(10, 2), [world.credential("sea", 2)]));
    expect(world.does("withdraw")).toHaveLength(0);
    expect(Object.keys(world.driver.health().runwayMs).sort()).toEqual(["lake", "sea"]);
  });

  it("drops a credential by its tombstone, and none that is newer than that", () => {
    const { world } = joined();
    world.broadcast(world.bundle(v(10, 2), [], [{ provider: "lake", generation: 0 }]));
    expect(world.does("withdraw")).toHaveLength(0);
    world.broadcast(world.bundle(v(10, 3), [], [{ provider: "lake", generation: 1 }]));
    expect(world.does("withdraw")).toHaveLength(1);
  });

  it("keeps what it holds when the newer bundle brings an expired credential", () => {
    const { world } = joined();
    const other = world.credential("sea", 2);
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2, -1), other]));
    expect(world.driver.health().runwayMs["lake"]).toBe(HOUR);
  });
});

describe("expiry", () => {
  it("I2: withdraws at the expiry, to the millisecond", () => {
    const { world } = joined();
    world.clock.advance(HOUR - 1);
    expect(world.does("withdraw")).toHaveLength(0);
    world.clock.advance(1);
    expect(world.does("withdraw")).toHaveLength(1);
    expect(world.news).toContainEqual({ kind: "expired", provider: "lake", generation: 1 });
  });

  it("warns once when a tenth of its life is left, and again of the next one", () => {
    const { world } = joined();
    const low = () => world.news.filter(({ kind }) => kind === "runway-low");
    world.clock.advance(0.9 * HOUR - 1);
    expect(low()).toEqual([]);
    world.clock.advance(1);
    const first = { kind: "runway-low", provider: "lake", generation: 1, left: 0.1 * HOUR };
    expect(low()).toEqual([first]);
    world.clock.advance(1000);
    expect(low()).toEqual([first]);
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    world.clock.advance(0.9 * HOUR);
    expect(low()).toEqual([first, { ...first, generation: 2 }]);
  });

  it("does not warn of what is renewed in time", () => {
    const { world } = joined();
    world.clock.advance(0.75 * HOUR);
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    world.clock.advance(0.8 * HOUR);
    expect(world.news.map(({ kind }) => kind)).not.toContain("runway-low");
  });

  it.each([-24 * HOUR, -60_000, 60_000, 24 * HOUR])(
    "I2: a wall clock that is %i ms wrong changes nothing",
    (skew) => {
      const world = new World({}, skew);
      world.join(world.bundle(v(10, 1), [world.credential("lake", 1)]));
      expect(world.driver.health().runwayMs["lake"]).toBe(HOUR);
      expect(world.driver.health().skew).toBe(-skew);
    },
  );

  it.each([-2 * HOUR, 2 * HOUR])(
    "I2: a wall clock that steps by %i ms changes no deadline, and makes the agent measure again",
    (by) => {
      const { world } = joined();
      const end = world.clock.now().mono + HOUR;
      world.clock.stepWall(by);
      while (world.registers.length < 2) world.clock.advanceToNext();
      world.accept(v(10, 1));
      expect(world.does("apply")).toHaveLength(1);
      world.clock.advance(end - world.clock.now().mono - 1);
      expect(world.does("withdraw")).toHaveLength(0);
      world.clock.advance(1);
      expect(world.does("withdraw")).toHaveLength(1);
    },
  );

  it("I2: a life that went on while the machine slept is shortened, and its receiver told", () => {
    const { world } = joined();
    const start = world.clock.now().mono;
    world.clock.suspend(HOUR / 2);
    while (world.registers.length < 2) world.clock.advanceToNext();
    world.accept(v(10, 1), undefined, { timeMs: world.coordinatorNow() + HOUR / 2 });
    const awake = world.clock.now().mono - start;
    expect(world.driver.health().runwayMs["lake"]).toBeCloseTo(HOUR / 2 - awake, 3);
    const [first, second] = world.does("apply");
    expect(second?.serving?.until).toBeCloseTo((first?.serving?.until ?? 0) - HOUR / 2, 3);
  });

  it("I2: a reply that was under way while the machine slept measures nothing", () => {
    const { world } = joined();
    world.clock.stepWall(10_000);
    world.clock.advance(15_000);
    expect(world.registers).toHaveLength(2);
    const stamped = world.coordinatorNow();
    world.clock.suspend(HOUR / 2);
    world.accept(v(10, 1), undefined, { timeMs: stamped });
    expect(world.registers).toHaveLength(3);
    world.accept(v(10, 1), undefined, { timeMs: stamped + HOUR / 2 });
    expect(world.driver.health().runwayMs["lake"]).toBe(HOUR / 2 - 15_000);
  });

  it("I2: a slow register reply counts as being as old as its whole way", () => {
    const world = new World();
    world.connect();
    const timeMs = world.coordinatorNow();
    const bundle = world.bundle(v(10, 1), [world.credential("lake", 1)]);
    world.clock.advance(4000);
    world.accept(v(10, 1), bundle, { timeMs });
    expect(world.driver.health().runwayMs["lake"]).toBe(HOUR - 4000);
  });

  it("a bundle's sealing time moves the clock forward, never back", () => {
    const { world } = joined();
    const late = world.bundle(v(10, 2), [world.credential("sea", 2)]);
    world.broadcast({ ...late, sealedAt: (late.sealedAt + 1000) as typeof late.sealedAt });
    expect(world.driver.health().skew).toBe(-1000);
    world.broadcast({ ...late, generation: 3 });
    expect(world.driver.health().skew).toBe(-1000);
  });
});

describe("receivers", () => {
  it("has one errand under way for each, and goes on with the newest when it ends", () => {
    const { world } = joined();
    world.receiversAnswer = false;
    for (const generation of [2, 3, 4]) {
      world.broadcast(world.bundle(v(10, generation), [world.credential("lake", generation)]));
    }
    expect(world.does("apply")).toHaveLength(2);
    world.calls.at(-1)?.done(fine);
    expect(world.does("apply").map(({ serving }) => serving?.credential.generation)).toEqual([
      1, 2, 4,
    ]);
  });

  it("tries a failed one again after 1 s, 2 s, 4 s, and at once with a newer credential", () => {
    const { world } = joined();
    world.receiversAnswer = false;
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    for (const wait of [1200, 2400, 4800]) {
      const before = world.does("apply").length;
      world.calls.at(-1)?.done(broken());
      expect(world.does("apply")).toHaveLength(before);
      world.clock.advance(wait);
      expect(world.does("apply")).toHaveLength(before + 1);
    }
    world.calls.at(-1)?.done(broken());
    const before = world.does("apply").length;
    world.broadcast(world.bundle(v(10, 3), [world.credential("lake", 3)]));
    expect(world.does("apply")).toHaveLength(before + 1);
  });

  it("a receiver that fails delays no other", () => {
    const receivers = [
      { kind: "bad", provider: "lake" },
      { kind: "good", provider: "lake" },
    ];
    const world = new World({ receivers, convention: [] }, 0, false);
    world.calls.find(({ receiver }) => receiver === "good/lake")?.done(fine);
    world.calls.find(({ receiver }) => receiver === "bad/lake")?.done(broken());
    world.receiversAnswer = true;
    world.join(world.bundle(v(10, 1), [world.credential("lake", 1)]));
    expect(world.does("apply").map(({ receiver }) => receiver)).toEqual(["good/lake"]);
    expect(world.driver.health()).toMatchObject({ failing: { "bad/lake": "RECEIVER_FAILED" } });
  });
});

describe("acks", () => {
  it("acks a version once, when every receiver that it concerns has answered", () => {
    const receivers = [
      { kind: "one", provider: "lake" },
      { kind: "two", provider: "lake" },
      { kind: "three", provider: "elsewhere" },
    ];
    const world = new World({ receivers, convention: [] });
    world.receiversAnswer = false;
    world.join(world.bundle(v(10, 1), [world.credential("lake", 1)]));
    const [one, two] = world.does("apply");
    one?.done(fine);
    expect(world.acks()).toHaveLength(0);
    world.clock.advance(40);
    two?.done(fine);
    expect(world.acks()).toMatchObject([
      {
        ...v(10, 1),
        results: [
          { kind: "one", outcome: "applied", generation: 1, tookMs: 0 },
          { kind: "two", outcome: "applied", generation: 1, tookMs: 40 },
        ],
      },
    ]);
  });

  it("acks a failure with its code, and again once the receiver has healed", () => {
    const { world } = joined();
    world.receiversAnswer = false;
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    world.calls.at(-1)?.done(broken());
    world.clock.advance(1200);
    world.calls.at(-1)?.done(broken());
    world.clock.advance(2400);
    world.calls.at(-1)?.done(fine);
    expect(world.acks().map(({ results }) => results[0]?.outcome)).toEqual([
      "applied",
      "failed",
      "applied",
    ]);
    expect(world.acks()[1]?.results[0]).toMatchObject({ code: "RECEIVER_FAILED", generation: 1 });
  });

  it("acks a receiver that does not answer as failed after its time", () => {
    const { world } = joined();
    world.receiversAnswer = false;
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    world.clock.advance(DEFAULT_TIMINGS.receiverTimeout - 1);
    expect(world.acks()).toHaveLength(1);
    world.clock.advance(1);
    expect(world.acks().at(-1)?.results[0]?.outcome).toBe("failed");
  });

  it("acks again when the coordinator repeats the current bundle", () => {
    const { world, first } = joined();
    world.push(first);
    expect(world.acks().map(({ sequence }) => sequence)).toEqual([1, 2]);
  });

  it("a bundle that is sent again while it is being opened is opened once", () => {
    const { world } = joined();
    world.openerAnswers = false;
    const sealed = world.seal(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    for (let times = 0; times < 3; times += 1) {
      world.link({ kind: "bundle", sealed: Uint8Array.from(sealed) });
    }
    world.broadcast(world.bundle(v(10, 3), [world.credential("lake", 3)]));
    expect(world.opening).toHaveLength(2);
    world.openAll();
    expect(world.acks().map(({ generation }) => generation)).toEqual([1, 2, 3]);
    // Opened by now: to hear it once more means that our ack was missed.
    world.openerAnswers = true;
    world.link({ kind: "bundle", sealed: Uint8Array.of(2) });
    expect(world.acks().map(({ generation }) => generation)).toEqual([1, 2, 3, 3]);
  });

  it("a bundle is opened again with new keys, though it is being opened with the old ones", () => {
    const { world } = joined();
    world.openerAnswers = false;
    const next = world.bundle(v(10, 2), [world.credential("lake", 2)]);
    const sealed = world.seal(next);
    world.link({ kind: "bundle", sealed });
    expect(world.opening).toHaveLength(1);
    world.notice({ kind: "rekey", kid: "k2" }, 10, 1);
    world.clock.advance(1000);
    world.accept(v(10, 2), undefined);
    world.link({ kind: "bundle", sealed });
    expect(world.opening).toHaveLength(2);
  });

  it("an agent that is stopped says so once, with what it has", () => {
    const { world } = joined();
    world.driver.leave();
    world.clock.advance(HOUR);
    const beats = world.reports.filter((report) => report.type === "beat");
    expect(beats.at(-1)).toMatchObject({ leaving: true, term: 10, generation: 1, applied: true });
    expect(beats.filter(({ leaving }) => leaving === true)).toHaveLength(1);
  });

  it("an agent that is stopped from inside of its news says so as well, and hears nothing after it", () => {
    const { world } = joined();
    world.onNews = () => world.driver.leave();
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    const said = world.reports.length;
    expect(world.reports.at(-1)).toMatchObject({ type: "beat", leaving: true });
    world.broadcast(world.bundle(v(10, 3), [world.credential("lake", 3)]));
    world.clock.advance(HOUR);
    expect(world.reports).toHaveLength(said);
  });

  it("an agent that is stopped before it was started begins nothing", () => {
    const receivers = [{ kind: "probe", provider: "lake" }];
    const world = new World({ receivers }, 0, true, { started: false });
    world.driver.leave();
    world.clock.advance(HOUR);
    expect([world.calls, world.reports, world.registers]).toEqual([[], [], []]);
  });

  it("an agent that was never let in has nothing to say when it is stopped", () => {
    const world = new World();
    world.connect();
    world.driver.leave();
    expect(world.reports).toEqual([]);
  });

  it("is not sent again when what it acked expires later on", () => {
    const { world } = joined();
    world.clock.advance(2 * HOUR);
    expect(world.acks()).toHaveLength(1);
  });

  it("that did not leave is sent again, and not in a hot loop", () => {
    const world = new World();
    world.reportsFail = true;
    world.join(world.bundle(v(10, 1), [world.credential("lake", 1)]));
    world.clock.advance(999);
    world.reportsFail = false;
    expect(world.acks()).toHaveLength(0);
    world.clock.advance(1);
    expect(world.acks()).toHaveLength(1);
  });
});

describe("beats", () => {
  it("tell version, runway, failing receivers and refusals every beat interval", () => {
    const { world } = joined();
    world.link({ kind: "refused", code: "MESSAGE_FORGED" });
    world.clock.advance(60_000);
    expect(world.beats()).toHaveLength(4);
    const beat = world.beats().at(-1);
    expect(beat).toMatchObject({ ...v(10, 1), kid: "k1", refused: { MESSAGE_FORGED: 1 } });
    expect(beat?.runwayMs["lake"]).toBeLessThan(HOUR);
  });

  it("start at another phase in each agent", () => {
    const phases = ["a", "b", "c"].map((agent) => {
      const { world } = joined({ agent });
      const start = world.clock.now().mono;
      while (world.beats().length === 0) world.clock.advanceToNext();
      return world.clock.now().mono - start;
    });
    expect(new Set(phases).size).toBe(3);
    expect(Math.max(...phases)).toBeLessThan(15_000);
  });

  it("are not sent while disconnected", () => {
    const { world } = joined();
    world.link({ kind: "disconnected" });
    world.clock.advance(60_000);
    expect(world.beats()).toHaveLength(0);
  });
});

describe("anti-entropy", () => {
  it("beats once within the spread after each reconnect, however long it was away", () => {
    for (const away of [0, 10 * 60_000]) {
      const { world } = joined();
      world.link({ kind: "disconnected" });
      world.clock.advance(away);
      const before = world.beats().length;
      world.connect();
      expect(world.beats()).toHaveLength(before);
      world.clock.advance(DEFAULT_TIMINGS.catchUpSpread);
      expect(world.beats()).toHaveLength(before + 1);
      expect(world.beats().at(-1)).toMatchObject(v(10, 1));
    }
  });

  it("spreads the beats after a reconnect, so that a server that is back is not run down", () => {
    const waits = ["a", "b", "c"].map((agent) => {
      const { world } = joined({ agent });
      world.link({ kind: "disconnected" });
      world.clock.advance(60_000);
      world.connect();
      const start = world.clock.now().mono;
      while (world.beats().length === 0) world.clock.advanceToNext();
      return world.clock.now().mono - start;
    });
    expect(new Set(waits).size).toBe(3);
    expect(Math.max(...waits)).toBeLessThan(DEFAULT_TIMINGS.catchUpSpread);
  });

  it("registers again for a bundle under a key that it does not know, then opens it", () => {
    const { world } = joined();
    world.broadcast({ fault: "KEY_UNKNOWN" });
    world.clock.advance(DEFAULT_TIMINGS.registerSpread);
    expect(world.registers).toHaveLength(2);
    const next = world.bundle(v(10, 2), [world.credential("lake", 2)]);
    world.accept(next, next, { groups: ["k2", "k1"] });
    expect(world.driver.health().generation).toBe(2);
  });

  it("registers again for a notice that is signed with a key that it does not know, once in a while", () => {
    const { world } = joined();
    world.link({ kind: "refused", code: "MESSAGE_FORGED" });
    world.clock.advance(DEFAULT_TIMINGS.registerSpread);
    expect(world.registers).toHaveLength(1);
    for (let notice = 0; notice < 20; notice += 1) {
      world.link({ kind: "refused", code: "KEY_UNKNOWN" });
      world.clock.advance(DEFAULT_TIMINGS.registerSpread);
      if (world.registers.length > 1) world.accept(v(10, 1));
    }
    expect(world.registers).toHaveLength(2);
  });

  it("can't be made to register faster than its ladder by replays under an unknown key", () => {
    const { world } = joined();
    for (let replay = 0; replay < 50; replay += 1) {
      world.broadcast({ fault: "KEY_UNKNOWN" });
      if (world.registers.length > 1) world.accept(v(10, 1));
      world.clock.advance(100);
    }
    expect(world.registers.length).toBeLessThanOrEqual(2);
  });
});

describe("notices", () => {
  it("report is answered by a beat at once", () => {
    const { world } = joined();
    world.notice({ kind: "report" }, 10, 1);
    expect(world.beats()).toHaveLength(1);
  });

  it("rekey is answered by a registration, unless the key is known", () => {
    const { world } = joined();
    world.notice({ kind: "rekey", kid: "k1" }, 10, 1);
    world.clock.advance(1000);
    expect(world.registers).toHaveLength(1);
    world.notice({ kind: "rekey", kid: "k2" }, 10, 2);
    world.clock.advance(1000);
    expect(world.registers).toHaveLength(2);
  });

  it("goodbye ends joining and reporting, not serving", () => {
    const { world } = joined();
    world.notice({ kind: "goodbye" }, 10, 1);
    world.clock.advance(HOUR - 1);
    expect([world.registers.length, world.beats().length]).toEqual([1, 0]);
    expect(world.does("withdraw")).toHaveLength(0);
    world.clock.advance(1);
    expect(world.does("withdraw")).toHaveLength(1);
  });

  it("of a lower term, or with a sequence that was there before, are refused and counted", () => {
    const { world } = joined();
    world.notice({ kind: "report" }, 10, 2);
    world.notice({ kind: "goodbye" }, 10, 2);
    world.notice({ kind: "goodbye" }, 10, 1);
    world.notice({ kind: "goodbye" }, 9, 9);
    expect(world.refused("MESSAGE_REPLAYED")).toBe(3);
    expect(world.driver.health().joining).toBe("member");
    world.notice({ kind: "report" }, 11, 1);
    expect(world.beats()).toHaveLength(2);
  });
});

describe("demands", () => {
  it("are sent once per generation, however many consumers ask", () => {
    const { world } = joined();
    for (let task = 0; task < 100; task += 1) world.driver.demand("lake", 1);
    expect(world.demands()).toMatchObject([{ provider: "lake", rejected: 1, ...v(10, 1) }]);
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    world.driver.demand("lake", 1);
    expect(world.demands()).toHaveLength(1);
    world.driver.demand("lake", 2);
    expect(world.demands()).toHaveLength(2);
  });

  it("wait for the connection, and lapse when something newer comes first", () => {
    const { world } = joined();
    world.link({ kind: "disconnected" });
    world.driver.demand("lake", 1);
    world.driver.demand("sea", 0);
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    world.connect();
    expect(world.demands().map(({ provider }) => provider)).toEqual(["sea"]);
  });
});

describe("readiness", () => {
  it("comes when every provider is applied, and goes at expiry", () => {
    const world = new World({ providers: ["sea"] });
    expect(world.driver.health().reasons).toContain("not registered with a coordinator yet");
    world.join(world.bundle(v(10, 1), [world.credential("lake", 1)]));
    expect(world.driver.health().reasons).toEqual(["provider sea: no unexpired credential"]);
    world.broadcast(
      world.bundle(v(10, 2), [world.credential("lake", 2), world.credential("sea", 2, 60_000)]),
    );
    expect(world.driver.health()).toMatchObject({ ready: true, reasons: [] });
    world.clock.advance(60_000);
    expect(world.driver.health().ready).toBe(false);
  });

  it("stays while an update fails, since the older credential still lives", () => {
    const { world } = joined();
    world.receiversAnswer = false;
    world.broadcast(world.bundle(v(10, 2), [world.credential("lake", 2)]));
    world.calls.at(-1)?.done(broken());
    expect(world.driver.health().ready).toBe(true);
  });
});

describe("jitter", () => {
  it("is spread evenly enough that no tenth of the agents falls into a twentieth of the time", () => {
    const counts = new Array<number>(20).fill(0);
    for (let agent = 0; agent < 2000; agent += 1) {
      const bucket = Math.floor(unitHash(`executor-${agent}`, "i", "beat") * 20);
      counts[bucket] = (counts[bucket] ?? 0) + 1;
    }
    expect(Math.max(...counts)).toBeLessThan(200);
    expect(Math.min(...counts)).toBeGreaterThan(40);
  });

  it("never makes a wait of nothing", () => {
    expect(waitOf(DEFAULT_TIMINGS.registerRetry, 0, 0)).toBeGreaterThan(0);
    expect(waitOf(DEFAULT_TIMINGS.registerRetry, 10_000, 0.999)).toBeLessThanOrEqual(36_000);
  });
});
