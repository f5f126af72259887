import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  earliestCall,
  floorApplies,
  hashUnit,
  JITTER_SHARE,
  mostCalls,
  type RetryFacts,
  renewAfter,
  retryDelay,
  watchdogGrace,
} from "../../../src/coordinator/core/plan.ts";
import { durationMs, monoMs } from "../../../src/protocol/time.ts";

const life = fc.integer({ min: 1, max: 12 * 3_600_000 }).map(durationMs);
const ratio = fc.double({ min: 0.1, max: 0.95, noNaN: true });
const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("when a credential is renewed", () => {
  test("never before its issue, never after ratio x lifetime, whatever the arguments", () => {
    fc.assert(
      fc.property(life, ratio, life, life, (lifetime, share, floor, jitter) => {
        const after = renewAfter(lifetime, share, floor, jitter);
        expect(after).toBeGreaterThanOrEqual(0);
        expect(after).toBeLessThanOrEqual(share * lifetime);
      }),
    );
  });

  test("at least minRemaining is left at the renewal where the lifetime has room for it", () => {
    fc.assert(
      fc.property(life, ratio, life, unit, (lifetime, share, floor, u) => {
        fc.pre(floorApplies(lifetime, floor));
        const jitter = durationMs(u * JITTER_SHARE * lifetime);
        expect(lifetime - renewAfter(lifetime, share, floor, jitter)).toBeGreaterThanOrEqual(floor);
      }),
    );
  });

  test("minRemaining is ignored where the lifetime is shorter than twice that", () => {
    const hour = durationMs(3_600_000);
    expect(renewAfter(durationMs(900_000), 0.75, durationMs(960_000), durationMs(0))).toBe(675_000);
    expect(renewAfter(hour, 0.75, durationMs(960_000), durationMs(0))).toBe(2_640_000);
    expect(renewAfter(hour, 0.75, durationMs(360_000), durationMs(0))).toBe(2_700_000);
  });

  test("jitter only ever brings it forward, by at most 2 % of the lifetime", () => {
    fc.assert(
      fc.property(life, ratio, unit, (lifetime, share, u) => {
        const none = renewAfter(lifetime, share, durationMs(0), durationMs(0));
        const some = renewAfter(lifetime, share, durationMs(0), durationMs(u * 0.02 * lifetime));
        expect(some).toBeLessThanOrEqual(none);
        expect(some).toBeGreaterThanOrEqual(Math.max(0, none - 0.02 * lifetime - 1));
      }),
    );
  });
});

describe("the hash behind jitter", () => {
  test("lies in [0, 1) and is the same for the same words", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.nat(), (job, provider, generation) => {
        const hash = hashUnit(job, provider, generation);
        expect(hash).toBeGreaterThanOrEqual(0);
        expect(hash).toBeLessThan(1);
        expect(hashUnit(job, provider, generation)).toBe(hash);
      }),
    );
  });

  test("spreads a thousand jobs that start together over the whole range", () => {
    const tenths = new Set(
      Array.from({ length: 1000 }, (_, i) => Math.floor(hashUnit("t", `job-${i}`, "lake", 1) * 10)),
    );
    expect(tenths.size).toBe(10);
  });
});

describe("how long a retry waits", () => {
  const facts: fc.Arbitrary<RetryFacts> = fc.record({
    failures: fc.integer({ min: 1, max: 1000 }),
    errorClass: fc.constantFrom("transient", "identity", "denied", "invalid"),
    remaining: fc.option(life, { nil: undefined }),
    never: fc.boolean(),
    unit,
    first: fc.integer({ min: 1, max: 60_000 }).map(durationMs),
    max: fc.integer({ min: 60_000, max: 600_000 }).map(durationMs),
  });

  test("at least a second, at most half over the maximum, at most a third of the remaining life", () => {
    fc.assert(
      fc.property(facts, (given) => {
        const wait = retryDelay(given);
        expect(wait).toBeGreaterThanOrEqual(1000);
        expect(wait).toBeLessThanOrEqual(Math.max(1000, 1.5 * given.max));
        if (given.remaining !== undefined) {
          expect(wait).toBeLessThanOrEqual(Math.max(1000, given.remaining / 3));
        }
      }),
    );
  });

  const base: RetryFacts = {
    failures: 1,
    errorClass: "transient",
    remaining: undefined,
    never: false,
    unit: 0.5,
    first: durationMs(5000),
    max: durationMs(300_000),
  };

  test("a transient failure doubles from 5 s to 5 min, moved by half either way", () => {
    const ladder = [1, 2, 3, 4, 5, 6, 7, 8, 50].map((failures) =>
      retryDelay({ ...base, failures }),
    );
    expect(ladder).toEqual([
      5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000,
    ]);
    expect(retryDelay({ ...base, unit: 0 })).toBe(2500);
    expect(retryDelay({ ...base, unit: 0.999 })).toBeLessThan(7500);
  });

  test("a rejected identity is tried again after a second once, then as slowly as a denial", () => {
    const of = (failures: number) => retryDelay({ ...base, errorClass: "identity", failures });
    expect([of(1), of(2), of(3)]).toEqual([1000, 300_000, 300_000]);
  });

  test("denied and invalid wait 5 min or a third of what is left", () => {
    for (const errorClass of ["denied", "invalid"] as const) {
      expect(retryDelay({ ...base, errorClass })).toBe(300_000);
      expect(retryDelay({ ...base, errorClass, remaining: durationMs(600_000) })).toBe(200_000);
    }
  });

  test("before anything was ever obtained a denial climbs the ladder: the permission may just be spreading", () => {
    expect(retryDelay({ ...base, errorClass: "denied", never: true })).toBe(5000);
  });
});

describe("I11: the earliest next call", () => {
  test("a caller that obeys it never calls twice in a second, nor 41 times in ten minutes", () => {
    const waits = fc.array(fc.integer({ min: 0, max: 30_000 }), { minLength: 60, maxLength: 200 });
    fc.assert(
      fc.property(waits, (gaps) => {
        const calls: number[] = [];
        let now = 0;
        for (const gap of gaps) {
          now = Math.max(now + gap, earliestCall(calls.slice(-40).map(monoMs), 40));
          calls.push(now);
        }
        calls.forEach((at, i) => {
          const next = calls[i + 1];
          const overNext = calls[i + 40];
          if (next !== undefined) expect(next - at).toBeGreaterThanOrEqual(1000);
          if (overNext !== undefined) expect(overNext - at).toBeGreaterThanOrEqual(600_000);
        });
      }),
    );
  });

  test("the bound is flat for every lifetime of 40 s or more, and twice the plan below", () => {
    fc.assert(
      fc.property(fc.integer({ min: 40_000, max: 1e9 }), (lifetime) => {
        expect(mostCalls(durationMs(lifetime), 0.75)).toBe(40);
      }),
    );
    expect(mostCalls(undefined, 0.75)).toBe(40);
    expect(mostCalls(durationMs(20_000), 0.75)).toBe(80);
    expect(mostCalls(durationMs(4_000), 0.75)).toBe(400);
    // What is nearly over when it is given is no plan to follow.
    expect(mostCalls(durationMs(3_900), 0.75)).toBe(40);
  });

  test("nothing holds up the first call", () => {
    expect(earliestCall([], 40)).toBe(Number.NEGATIVE_INFINITY);
  });
});

describe("the watchdog's grace", () => {
  test("a quarter of what is left after the plan, between half a second and the limit", () => {
    fc.assert(
      fc.property(fc.integer({ min: -1000, max: 10_000_000 }), life, (left, longest) => {
        const grace = watchdogGrace(durationMs(left), longest);
        expect(grace).toBeGreaterThanOrEqual(500);
        expect(grace).toBeLessThanOrEqual(Math.max(500, longest, 500));
        if (left > 2000) expect(grace).toBeLessThanOrEqual(left / 4);
      }),
    );
  });
});
