import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareVersions, type Version } from "../../../src/protocol/names.ts";
import { broken, fine, HOUR, World } from "./world.ts";

/** What may happen to an agent, in any order. */
const happening = fc.oneof(
  { weight: 6, arbitrary: fc.record({ does: fc.constant("bundle" as const), which: fc.nat(11) }) },
  { weight: 3, arbitrary: fc.record({ does: fc.constant("time" as const), ms: fc.nat(400_000) }) },
  fc.record({ does: fc.constant("step-wall" as const), ms: fc.integer({ min: -HOUR, max: HOUR }) }),
  { weight: 2, arbitrary: fc.record({ does: fc.constant("receiver" as const), ok: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("store" as const), ok: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("register" as const), ok: fc.boolean() }) },
  fc.record({ does: fc.constant("connect" as const) }),
  fc.record({ does: fc.constant("disconnect" as const) }),
);

function run(
  happenings: readonly (typeof happening extends fc.Arbitrary<infer T> ? T : never)[],
  persistent: boolean,
): World {
  const world = new World({ persistent }, 5 * HOUR);
  world.receiversAnswer = false;
  world.storeAnswers = false;
  // Six generations in each of two terms; each brings two providers, one of them short-lived.
  const bundles = Array.from({ length: 12 }, (_, index) => {
    const version = { term: 10 + Math.floor(index / 6), generation: (index % 6) + 1 };
    const generation = index + 1;
    return world.bundle(version, [
      world.credential("lake", generation, HOUR),
      world.credential("sea", generation, 600_000 + index * 60_000),
    ]);
  });
  const bundleOf = (index: number) =>
    bundles[index] ?? world.bundle({ term: 1, generation: 1 }, []);
  world.join(bundleOf(0));
  const answered = new Set<unknown>();
  const open = <T extends object>(all: readonly T[]): T | undefined => {
    const next = all.find((one) => !answered.has(one));
    if (next !== undefined) answered.add(next);
    return next;
  };
  for (const event of happenings) {
    switch (event.does) {
      case "bundle":
        world.broadcast(bundleOf(event.which));
        break;
      case "time":
        world.clock.advance(event.ms);
        break;
      case "step-wall":
        world.clock.stepWall(event.ms);
        break;
      case "receiver":
        open(world.calls)?.done(event.ok ? fine : broken());
        break;
      case "store":
        open(world.persisted)?.done(event.ok ? fine : broken("FILE_UNUSABLE"));
        break;
      case "register":
        if (event.ok) world.accept(bundleOf(0));
        else world.fail("NO_COORDINATOR");
        break;
      case "connect":
        world.connect();
        break;
      case "disconnect":
        world.link({ kind: "disconnected" });
    }
  }
  return world;
}

describe("whatever happens, in whatever order", () => {
  it("I1: versions are accepted, persisted and applied only upwards", () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 60 }), fc.boolean(), (events, persistent) => {
        const world = run(events, persistent);
        expect(world.faults).toEqual([]);
        const accepted = world.news
          .filter((news) => news.kind === "accepted")
          .map(({ version }) => version);
        const upwards = (versions: readonly Version[], strictly: boolean): void => {
          versions.slice(1).forEach((version, index) => {
            const before = versions[index] ?? version;
            expect(compareVersions(version, before)).toBeGreaterThanOrEqual(strictly ? 1 : 0);
          });
        };
        upwards(accepted, true);
        upwards(
          world.persisted.map(({ highest }) => highest),
          false,
        );
        upwards(world.acks(), false);
        for (const provider of ["lake", "sea"]) {
          const applied = world
            .does("apply")
            .filter(({ serving }) => serving?.credential.provider === provider)
            .map(({ serving }) => ({ term: 1, generation: serving?.credential.generation ?? 0 }));
          upwards(applied, false);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("I2: no deadline that a receiver is given lies beyond the expiry in the coordinator's time", () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 60 }), (events) => {
        const world = run(events, false);
        for (const { serving } of world.does("apply")) {
          if (serving === undefined) continue;
          const ends = serving.until - world.clock.now().mono + world.coordinatorNow();
          expect(ends).toBeLessThanOrEqual(serving.credential.expiresAt + 0.001);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("one receiver never has two errands at once, and reports are numbered upwards", () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 40 }), (events) => {
        const world = run(events, true);
        expect(world.doubled).toEqual([]);
        const sequences = world.reports.map(({ sequence }) => sequence);
        expect(new Set(sequences).size).toBe(sequences.length);
        expect([...sequences].sort((a, b) => a - b)).toEqual(sequences);
      }),
      { numRuns: 100 },
    );
  });

  it("every agent that the network leaves alone in the end holds and acks the newest bundle", () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 40 }), (events) => {
        const world = run(events, true);
        world.receiversAnswer = true;
        world.storeAnswers = true;
        for (const call of world.calls) call.done(fine);
        for (const write of world.persisted) write.done(fine);
        world.connect();
        world.clock.advance(60_000);
        world.fail("NO_COORDINATOR");
        world.clock.advance(60_000);
        const newest = world.bundle({ term: 12, generation: 1 }, [world.credential("lake", 99)]);
        world.accept(newest, newest);
        world.broadcast(newest);
        // Retries that were under way come to their end.
        for (let round = 0; round < 3; round += 1) {
          for (const call of world.calls) call.done(fine);
          for (const write of world.persisted) write.done(fine);
          world.clock.advance(40_000);
        }
        expect(world.driver.health()).toMatchObject({ term: 12, generation: 1 });
        expect(world.does("apply").at(-1)?.serving?.credential.generation).toBe(99);
        expect(world.acks().at(-1)).toMatchObject({ term: 12, generation: 1 });
      }),
      { numRuns: 100 },
    );
  });
});
