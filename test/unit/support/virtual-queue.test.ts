import { describe, expect, test } from "vitest";
import { type Outcome, success } from "../../../src/protocol/outcome.ts";
import { durationMs } from "../../../src/protocol/time.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { VirtualRedis } from "../../support/virtual-queue.ts";

function rig() {
  const clock = new ManualClock();
  const redis = new VirtualRedis();
  const queue = redis.open(clock);
  const seen: string[] = [];
  queue.consume(({ provider }) => seen.push(provider));
  const ensure = (...providers: readonly [string, number][]): Outcome<number> => {
    let outcome: Outcome<number> | undefined;
    const plan = providers.map(([provider, delay]) => {
      return { provider, generation: 1, attempt: 1, delay: durationMs(delay) };
    });
    queue.ensure(plan, (told) => {
      outcome = told;
    });
    if (outcome === undefined) throw new Error("ensure is not synchronous");
    return outcome;
  };
  return { clock, redis, queue, seen, ensure };
}

describe("the simulated queue's faults", () => {
  test("a lost entry is never raised, until it is put back", () => {
    const { clock, redis, seen, ensure } = rig();
    ensure(["a", 1000], ["b", 1000]);
    expect(redis.lose(({ provider }) => provider === "a")).toBe(1);
    clock.advance(5000);
    expect(seen).toEqual(["b"]);
    expect(ensure(["a", 0])).toEqual(success(1));
    clock.advance(0);
    expect(seen).toEqual(["b", "a"]);
  });

  test("while it is silent it takes plans and raises none, and raises them once it speaks", () => {
    const { clock, redis, seen, ensure } = rig();
    redis.fallSilent();
    expect(ensure(["a", 1000])).toEqual(success(1));
    clock.advance(5000);
    expect(ensure(["a", 0])).toEqual(success(0));
    expect(seen).toEqual([]);
    redis.speak();
    clock.advance(0);
    expect(seen).toEqual(["a"]);
  });

  test("a doubled due is raised twice, the next one once", () => {
    const { clock, redis, seen, ensure } = rig();
    redis.doubleNext();
    ensure(["a", 10], ["b", 20]);
    clock.advance(20);
    expect(seen).toEqual(["a", "a", "b"]);
    expect(redis.raised).toHaveLength(3);
  });

  test("a failed ensure has changed nothing, or all", () => {
    const { redis, ensure } = rig();
    redis.failNext("not-applied");
    expect(ensure(["a", 10]).ok).toBe(false);
    expect(redis.planned()).toEqual([]);
    redis.failNext("applied");
    expect(ensure(["a", 10]).ok).toBe(false);
    expect(redis.planned()).toHaveLength(1);
    expect(ensure(["a", 10])).toEqual(success(0));
  });

  test("while it is away nothing is raised; afterwards what is overdue is, once", () => {
    const { clock, redis, queue, seen, ensure } = rig();
    const order: string[] = [];
    queue.onReconnect(() => order.push(`back, raised ${seen.length}`));
    ensure(["a", 10]);
    redis.goAway();
    clock.advance(60_000);
    expect(seen).toEqual([]);
    redis.comeBack();
    clock.advance(0);
    expect(seen).toEqual(["a"]);
    expect(order).toEqual(["back, raised 0"]);
  });

  test("a wall clock stepped back makes a due late; one stepped ahead makes it early", () => {
    const { clock, seen, ensure } = rig();
    ensure(["late", 5000]);
    clock.stepWall(-3_600_000);
    clock.advance(3_600_000);
    expect(seen).toEqual([]);
    clock.advance(15_000);
    expect(seen).toEqual(["late"]);
    ensure(["early", 3_600_000]);
    clock.stepWall(3_600_000);
    clock.advance(10_000);
    expect(seen).toEqual(["late", "early"]);
  });

  test("a crashed end is called back no more; the other end raises what it planned", () => {
    const { clock, redis, queue, seen, ensure } = rig();
    ensure(["a", 1000]);
    queue.crash();
    const other: string[] = [];
    redis.open(clock).consume(({ provider }) => other.push(provider));
    clock.advance(1000);
    expect([seen, other]).toEqual([[], ["a"]]);
  });
});
