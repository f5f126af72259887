import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  attemptId,
  changeFor,
  DUE_TOLERANCE_MS,
  type Held,
  type PlannedDue,
  parseAttempt,
} from "../../../src/coordinator/adapters/bullmq-queue/renewal-plan.ts";
import { durationMs, epochMs } from "../../../src/protocol/time.ts";

const WALL = epochMs(1_800_000_000_000);

const planned = fc.record({
  provider: fc.stringMatching(/^[A-Za-z0-9_-]{1,8}$/),
  generation: fc.nat(3),
  attempt: fc.nat(3),
  delay: fc.nat(100_000).map(durationMs),
});
const plans = fc.array(planned, { maxLength: 8 });
const heldBy = (entries: readonly PlannedDue[]): fc.Arbitrary<Held[]> =>
  fc
    .tuple(
      ...entries.map((entry) =>
        fc.record({
          id: fc.constant(attemptId(entry)),
          state: fc.constantFrom<Held["state"]>("planned", "due", "taken", "over"),
          due: fc.nat(100_000).map((late) => epochMs(WALL + late)),
        }),
      ),
    )
    .map((all) => [...new Map(all.map((held) => [held.id, held])).values()]);

describe("the change that brings a schedule to its plan", () => {
  test("once made, nothing more is to be done, whatever was there before", () => {
    fc.assert(
      fc.property(
        plans,
        plans.chain((before) => heldBy(before)),
        (plan, held) => {
          const { remove, add } = changeFor(plan, held, WALL);
          const after = new Map(held.map((entry) => [entry.id, entry]));
          for (const id of remove) after.delete(id);
          for (const entry of add) {
            const id = attemptId(entry);
            expect(after.has(id)).toBe(false); // Adding over an id that is there does nothing.
            after.set(id, { id, state: "planned", due: epochMs(WALL + entry.delay) });
          }
          expect(changeFor(plan, [...after.values()], WALL)).toEqual({ remove: [], add: [] });
          for (const entry of plan) expect(after.has(attemptId(entry))).toBe(true);
        },
      ),
    );
  });

  test("what is being raised is never removed", () => {
    fc.assert(
      fc.property(plans, plans.chain(heldBy), (plan, held) => {
        const { remove } = changeFor(plan, held, WALL);
        const taken = held.filter(({ state }) => state === "taken").map(({ id }) => id);
        expect(remove.filter((id) => taken.includes(id))).toEqual([]);
      }),
    );
  });

  test("a small difference in the due time is none; a stepped clock is one", () => {
    const entry = { provider: "a", generation: 1, attempt: 1, delay: durationMs(60_000) };
    const at = (off: number): Held[] => [
      { id: attemptId(entry), state: "planned", due: epochMs(WALL + 60_000 + off) },
    ];
    expect(changeFor([entry], at(-DUE_TOLERANCE_MS), WALL)).toEqual({ remove: [], add: [] });
    expect(changeFor([entry], at(3_600_000), WALL)).toEqual({
      remove: ["a-g1-a1"],
      add: [entry],
    });
  });

  test("ids are what BullMQ takes, and tell attempts apart", () => {
    fc.assert(
      fc.property(planned, planned, (one, other) => {
        expect(attemptId(one)).toMatch(/^[A-Za-z0-9_-]+$/);
        expect(attemptId(one)).not.toMatch(/^\d+$/);
        const same =
          one.provider === other.provider &&
          one.generation === other.generation &&
          one.attempt === other.attempt;
        expect(attemptId(one) === attemptId(other)).toBe(same);
      }),
    );
  });

  test.each([
    null,
    "text",
    {},
    { provider: "a", generation: 1 },
    { provider: "a:b", generation: 1, attempt: 1 },
    { provider: "a", generation: -1, attempt: 1 },
    { provider: "a", generation: 1, attempt: 1.5 },
    { provider: "a", generation: "1", attempt: 1 },
  ])("%j is no attempt", (data) => {
    expect(parseAttempt(data)).toBeUndefined();
  });
});
