/** What every `RenewalQueue` must do, run on BullMQ with a real Redis and on the simulated one. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PlannedAttempt, RenewalQueue } from "../../../src/coordinator/ports/renewal-queue.ts";
import type { Done, Outcome } from "../../../src/protocol/outcome.ts";
import { type Clock, durationMs } from "../../../src/protocol/time.ts";

export interface QueueRig {
  /** The clock that the queue counts by; moves by itself or by `until`. */
  readonly clock: Clock;
  /** A new end of the queue of a job (default: always the same one), as another process has it. */
  open(job?: string): RenewalQueue;
  /** Lets time pass until the condition holds; a test that waits in vain runs into its timeout. */
  until(condition: () => boolean): Promise<void>;
  /** The store is gone without a word, keeping its data. */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  /** All data is gone, and nobody is told. */
  wipe(): Promise<void>;
  /** How many entries, of whatever kind, the store holds. */
  size(): Promise<number>;
  end(): Promise<void>;
}

export type Plan = Parameters<RenewalQueue["ensure"]>[0];

const HOUR_MS = 3_600_000;

export const promised = <T>(call: (done: Done<T>) => void): Promise<Outcome<T>> =>
  new Promise((resolve) => call(resolve));

export const ensure = (queue: RenewalQueue, plan: Plan): Promise<Outcome<number>> =>
  promised((done) => queue.ensure(plan, done));

/** How many it put in, or the code that it failed with. */
export async function ensured(queue: RenewalQueue, plan: Plan): Promise<number | string> {
  const outcome = await ensure(queue, plan);
  return outcome.ok ? outcome.value : outcome.error.code;
}

export const due = (
  provider: string,
  delay: number,
  attempt = 1,
  generation = 7,
): Plan[number] => ({
  provider,
  generation,
  attempt,
  delay: durationMs(delay),
});

export interface Seen {
  readonly attempt: PlannedAttempt;
  readonly at: number;
}

/** Consumes, and notes what was raised and when. */
export function collect(queue: RenewalQueue, clock: Clock): Seen[] {
  const seen: Seen[] = [];
  queue.consume((attempt) => seen.push({ attempt, at: clock.now().wall }));
  return seen;
}

export const countOf = (seen: readonly Seen[], provider: string): number =>
  seen.filter(({ attempt }) => attempt.provider === provider).length;

export function renewalQueueContract(name: string, start: () => Promise<QueueRig>): void {
  describe(`${name} keeps the queue contract`, () => {
    let rig: QueueRig;
    const open: RenewalQueue[] = [];
    const opened = (job?: string): RenewalQueue => {
      const queue = rig.open(job);
      open.push(queue);
      return queue;
    };
    beforeEach(async () => {
      rig = await start();
    });
    afterEach(async () => {
      await Promise.all(open.splice(0).map((queue) => promised<void>((done) => queue.close(done))));
      await rig.end();
    });

    test("an attempt that is planned twice is put in once and raised once", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      expect(await ensured(queue, [due("a", 300)])).toBe(1);
      expect(await ensured(queue, [due("a", 300)])).toBe(0);
      expect(await ensured(queue, [due("a", 300), due("later", 700)])).toBe(1);
      await rig.until(() => countOf(seen, "later") > 0);
      expect(countOf(seen, "a")).toBe(1);
      expect(seen[0]?.attempt).toEqual({ provider: "a", generation: 7, attempt: 1 });
    });

    test("a due is never raised before its time", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      const planned = rig.clock.now().wall;
      await ensured(queue, [due("slow", 500), due("quick", 200)]);
      await rig.until(() => seen.length === 2);
      expect(seen.map(({ attempt }) => attempt.provider)).toEqual(["quick", "slow"]);
      expect((seen[0]?.at ?? 0) - planned).toBeGreaterThanOrEqual(200);
      expect((seen[1]?.at ?? 0) - planned).toBeGreaterThanOrEqual(500);
    });

    test("a delay of 0 is raised at once, and many at once are all raised", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      const plan = Array.from({ length: 40 }, (_, index) => due(`p${index}`, 0));
      expect(await ensured(queue, plan)).toBe(40);
      await rig.until(() => seen.length === 40);
      expect(new Set(seen.map(({ attempt }) => attempt.provider)).size).toBe(40);
    });

    test("what is planned before anybody consumes is raised once somebody does", async () => {
      const queue = opened();
      await ensured(queue, [due("a", 0)]);
      const seen = collect(queue, rig.clock);
      await rig.until(() => seen.length === 1);
    });

    test("what is not named any more is removed and never raised", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      expect(await ensured(queue, [due("dropped", 300), due("kept", HOUR_MS)])).toBe(2);
      expect(await ensured(queue, [due("kept", HOUR_MS), due("later", 600)])).toBe(1);
      await rig.until(() => countOf(seen, "later") > 0);
      expect(countOf(seen, "dropped")).toBe(0);
      expect(await ensured(queue, [])).toBe(0);
      expect(await ensured(queue, [due("kept", HOUR_MS)])).toBe(1);
    });

    test("attempts of one provider differ by generation and by attempt", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      await ensured(queue, [due("a", 0, 1, 1), due("a", 0, 2, 1), due("a", 0, 1, 2)]);
      await rig.until(() => seen.length === 3);
    });

    test("what the store lost is put back and raised (I10)", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      expect(await ensured(queue, [due("a", 500), due("b", 600)])).toBe(2);
      await rig.wipe();
      expect(await ensured(queue, [due("a", 300), due("b", 400)])).toBe(2);
      await rig.until(() => seen.length === 2);
      expect(countOf(seen, "a")).toBe(1);
    });

    test("one who is paused takes nothing: it is left to who consumes, and to itself once it does again", async () => {
      const [standby, leader] = [opened(), opened()];
      const [notTaken, taken] = [collect(standby, rig.clock), collect(leader, rig.clock)];
      standby.pause();
      for (let round = 1; round <= 5; round += 1) {
        await ensured(leader, [due(`p${round}`, 50)]);
        await rig.until(() => taken.length === round);
      }
      expect(notTaken).toEqual([]);
      leader.pause();
      const again = collect(standby, rig.clock);
      await ensured(standby, [due("after", 50)]);
      await rig.until(() => again.length === 1);
      expect(taken).toHaveLength(5);
    });

    test("without putting back, what the store lost is never raised (negative control)", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      await ensured(queue, [due("lost", 200)]);
      await rig.wipe();
      const other = opened("another-job");
      const sentinel = collect(other, rig.clock);
      await ensured(other, [due("sentinel", 600)]);
      await rig.until(() => sentinel.length === 1);
      expect(seen).toEqual([]);
    });

    test("an attempt that was raised and is planned again, from within, is raised again", async () => {
      const queue = opened();
      let raised = 0;
      const outcomes: Promise<number | string>[] = [];
      queue.consume(() => {
        raised += 1;
        // The core has found it early: the same attempt is still the plan.
        if (raised === 1) outcomes.push(ensured(queue, [due("a", 200)]));
      });
      await ensured(queue, [due("a", 0)]);
      await rig.until(() => raised === 2);
      expect(await Promise.all(outcomes)).toEqual([1]);
    });

    test("an attempt that is planned for another time is moved there", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      await ensured(queue, [due("sooner", HOUR_MS), due("later", 300)]);
      expect(await ensured(queue, [due("sooner", 100), due("later", HOUR_MS)])).toBe(2);
      await rig.until(() => countOf(seen, "sooner") === 1);
      await ensured(queue, [due("later", HOUR_MS), due("sentinel", 600)]);
      await rig.until(() => countOf(seen, "sentinel") === 1);
      expect(countOf(seen, "later")).toBe(0);
    });

    test("plans that are given together take effect one after the other", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      const outcomes = await Promise.all([
        ensured(queue, [due("a", 300), due("b", 300)]),
        ensured(queue, [due("b", 300)]),
        ensured(queue, [due("b", 300), due("c", 400)]),
      ]);
      expect(outcomes).toEqual([2, 0, 1]);
      await rig.until(() => countOf(seen, "c") === 1);
      expect(countOf(seen, "a")).toBe(0);
      expect(countOf(seen, "b")).toBe(1);
    });

    test("what one coordinator planned, its successor raises after it has closed", async () => {
      const first = opened();
      const never = collect(first, rig.clock);
      expect(await ensured(first, [due("a", 400)])).toBe(1);
      expect((await promised<void>((done) => first.close(done))).ok).toBe(true);
      const second = opened();
      const seen = collect(second, rig.clock);
      expect(await ensured(second, [due("a", 400)])).toBe(0);
      await rig.until(() => seen.length === 1);
      expect(never).toEqual([]);
      expect(await ensured(first, [due("a", 0)])).toBe("QUEUE_UNAVAILABLE");
    });

    test("a due is raised in its own job only", async () => {
      const one = collect(opened("one"), rig.clock);
      const queue = opened("two");
      const two = collect(queue, rig.clock);
      await ensured(queue, [due("a", 0)]);
      await rig.until(() => two.length === 1);
      expect(one).toEqual([]);
    });

    test("while the store is away planning fails, and repeating it later is harmless", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      let reconnected = 0;
      queue.onReconnect(() => {
        reconnected += 1;
      });
      expect(await ensured(queue, [due("a", HOUR_MS)])).toBe(1);
      await rig.goAway();
      expect(await ensured(queue, [due("a", HOUR_MS), due("b", 0)])).toBe("QUEUE_UNAVAILABLE");
      expect(await ensured(queue, [due("a", HOUR_MS), due("b", 0)])).toBe("QUEUE_UNAVAILABLE");
      expect(reconnected).toBe(0);
      await rig.comeBack();
      await rig.until(() => reconnected === 1);
      // It may be there, or not: a Redis that fsyncs every second and is killed may lose what it has acknowledged.
      expect(await ensured(queue, [due("a", 200), due("b", 0)])).toBe(2);
      await rig.until(() => countOf(seen, "a") === 1 && countOf(seen, "b") === 1);
      expect(await ensured(queue, [due("sentinel", 300)])).toBe(1);
      await rig.until(() => countOf(seen, "sentinel") === 1);
      expect([countOf(seen, "a"), countOf(seen, "b")]).toEqual([1, 1]);
    });

    test("it can be opened while the store is away, and works once that is there", async () => {
      await rig.goAway();
      const queue = opened();
      const seen = collect(queue, rig.clock);
      let reconnected = 0;
      queue.onReconnect(() => {
        reconnected += 1;
      });
      expect(await ensured(queue, [due("a", 0)])).toBe("QUEUE_UNAVAILABLE");
      await rig.comeBack();
      await rig.until(() => reconnected === 1);
      expect(await ensured(queue, [due("a", 0)])).toBe(1);
      await rig.until(() => seen.length === 1);
    });

    test("it can be closed while the store is away", async () => {
      const queue = opened();
      collect(queue, rig.clock);
      await ensured(queue, [due("a", HOUR_MS)]);
      await rig.goAway();
      expect((await promised<void>((done) => queue.close(done))).ok).toBe(true);
    });

    test("at the end of the job nothing of it is left, and nothing can be put back", async () => {
      const queue = opened();
      const seen = collect(queue, rig.clock);
      await ensured(queue, [due("raised", 0), due("a", HOUR_MS)]);
      await rig.until(() => seen.length === 1);
      expect(await rig.size()).toBeGreaterThan(0);
      expect((await promised<void>((done) => queue.obliterate(done))).ok).toBe(true);
      expect(await rig.size()).toBe(0);
      expect(await ensured(queue, [due("a", 0)])).toBe("QUEUE_UNAVAILABLE");
      expect(await rig.size()).toBe(0);
    });

    test("a job of the same name can begin anew after the end", async () => {
      const old = opened();
      await ensured(old, [due("a", HOUR_MS)]);
      await promised<void>((done) => old.obliterate(done));
      const queue = opened();
      const seen = collect(queue, rig.clock);
      expect(await ensured(queue, [due("a", 0)])).toBe(1);
      await rig.until(() => seen.length === 1);
    });

    test("removing fails while the store is away, and can be repeated", async () => {
      const queue = opened();
      await ensured(queue, [due("a", HOUR_MS)]);
      await rig.goAway();
      const failed = await promised<void>((done) => queue.obliterate(done));
      expect(failed.ok || failed.error.code).toBe("QUEUE_UNAVAILABLE");
      let back = false;
      queue.onReconnect(() => {
        back = true;
      });
      await rig.comeBack();
      await rig.until(() => back);
      expect((await promised<void>((done) => queue.obliterate(done))).ok).toBe(true);
      expect(await rig.size()).toBe(0);
    });
  });
}
