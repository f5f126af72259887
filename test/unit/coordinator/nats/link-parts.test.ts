/** The bounds of the link: of work at a time, of what waits, of what is remembered. */
import { describe, expect, it } from "vitest";
import { BoundedMap } from "../../../../src/coordinator/adapters/nats-link/bounded-map.ts";
import { macKeys } from "../../../../src/coordinator/adapters/nats-link/mac-keys.ts";
import { RequestTable } from "../../../../src/coordinator/adapters/nats-link/request-table.ts";
import { workPool } from "../../../../src/coordinator/adapters/nats-link/work-pool.ts";
import { boxed, createJobKeySet } from "../../../../src/protocol/keys.ts";
import { durationMs, epochMs, seconds } from "../../../../src/protocol/time.ts";
import { systemRandom } from "../../../../src/runtime/system-clock.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

/** Work that ends when told to. */
function handWork() {
  const running: (() => void)[] = [];
  let started = 0;
  let most = 0;
  return {
    work: () => {
      started += 1;
      return new Promise<void>((resolve) => {
        running.push(resolve);
        most = Math.max(most, running.length);
      });
    },
    endOne: () => running.shift()?.(),
    counts: () => ({ started, most, running: running.length }),
  };
}
const turns = async (count = 10): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await Promise.resolve();
};

describe("the pool", () => {
  const start = (over: { capacity?: number } = {}) => {
    const clock = new ManualClock();
    let dropped = 0;
    const pool = workPool({
      clock,
      concurrency: 2,
      capacity: over.capacity ?? 100,
      patience: seconds(30),
      onDropped: () => {
        dropped += 1;
      },
    });
    return { clock, pool, dropped: () => dropped };
  };

  it("never runs more than its bound at a time, and runs all", async () => {
    const { pool } = start();
    const hand = handWork();
    for (let index = 0; index < 7; index += 1) pool.add(hand.work);
    await turns();
    for (let index = 0; index < 7; index += 1) {
      hand.endOne();
      await turns();
    }
    expect(hand.counts()).toEqual({ started: 7, most: 2, running: 0 });
  });

  it("drops what is too much and what has waited too long, and counts both", async () => {
    const { clock, pool, dropped } = start({ capacity: 3 });
    const hand = handWork();
    for (let index = 0; index < 8; index += 1) pool.add(hand.work);
    await turns();
    expect(dropped()).toBe(3);
    clock.advance(durationMs(30_001));
    hand.endOne();
    await turns();
    expect(dropped()).toBe(6);
    expect(hand.counts().started).toBe(2);
  });

  it("goes on after work that fails, and close waits for what runs only", async () => {
    const { pool } = start();
    const hand = handWork();
    pool.add(() => Promise.reject(new Error("x")));
    pool.add(() => {
      throw new Error("y");
    });
    for (let index = 0; index < 5; index += 1) pool.add(hand.work);
    await turns();
    let closed = false;
    void pool.close().then(() => {
      closed = true;
    });
    await turns();
    expect(closed).toBe(false);
    hand.endOne();
    hand.endOne();
    await turns();
    expect(closed).toBe(true);
    expect(hand.counts().started).toBe(2);
    await start().pool.close();
  });
});

it("a request is answered once, and not after its life", () => {
  const clock = new ManualClock();
  const table = new RequestTable<string>(clock, seconds(60));
  const [one, two] = [table.add("one"), table.add("two")];
  expect(table.take(one)).toBe("one");
  expect(table.take(one)).toBeUndefined();
  clock.advance(durationMs(60_001));
  expect(table.take(two)).toBeUndefined();
  for (let index = 0; index < 1000; index += 1) table.add("unanswered");
  clock.advance(durationMs(60_001));
  table.add("last");
  expect(table.size).toBe(1);
});

it("a bounded map forgets what was used longest ago", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  expect(map.get("a")).toBe(1);
  map.set("c", 3);
  expect([map.get("a"), map.get("b"), map.get("c"), map.size]).toEqual([1, undefined, 3, 2]);
});

it("MAC keys are derived once for who is genuine, and forgers push nobody out", async () => {
  const set = await createJobKeySet(epochMs(1), systemRandom);
  const macs = macKeys(boxed({ version: 1, tenant: "t", job: "j", sets: [set, set] }), 2);
  const first = macs.of("a", "i");
  expect(first).toHaveLength(2);
  expect(macs.of("a", "i")).not.toBe(first);
  macs.keep();
  const kept = macs.of("a", "i");
  expect(kept).toEqual(first);
  for (let index = 0; index < 10; index += 1) macs.of("forged", `i${index}`);
  expect(macs.of("a", "i")).toBe(kept);
  const letIn = macs.letIn("b", "i");
  expect(macs.of("b", "i")[0]).toBe(letIn);
});
