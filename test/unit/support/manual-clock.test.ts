import { describe, expect, test } from "vitest";
import { durationMs, epochMs, monoMs } from "../../../src/protocol/time.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const START = { wall: epochMs(1_000), mono: monoMs(50) };

/** Sets timers that note their name and the time at which they fired. */
function rig() {
  const clock = new ManualClock(START);
  const fired: string[] = [];
  const set = (name: string, delay: number): (() => void) =>
    clock.timer(durationMs(delay), () => fired.push(`${name}@${clock.now().mono - 50}`));
  return { clock, fired, set };
}

describe("the manual clock", () => {
  test("fires in due order, equals in the order they were set, each at its own time", () => {
    const { clock, fired, set } = rig();
    set("c", 30);
    set("a1", 10);
    set("b", 20);
    set("a2", 10);
    clock.advance(20);
    expect(fired).toEqual(["a1@10", "a2@10", "b@20"]);
    expect(clock.pending()).toEqual([{ due: 80, delay: 30, background: false }]);
    clock.advance(9);
    expect(fired).toHaveLength(3);
    clock.advance(1);
    expect(fired.at(-1)).toBe("c@30");
  });

  test("fires what a firing timer sets, if it comes due within the same advance", () => {
    const { clock, fired, set } = rig();
    clock.timer(durationMs(5), () => {
      set("now", 0);
      set("later", 5);
      set("too late", 6);
    });
    clock.advance(10);
    expect(fired).toEqual(["now@5", "later@10"]);
    expect(clock.pending()).toHaveLength(1);
  });

  test("fires nothing that was cancelled, also by another timer of the same instant", () => {
    const { clock, fired, set } = rig();
    const cancels: (() => void)[] = [];
    clock.timer(durationMs(1), () => {
      for (const cancel of cancels) cancel();
    });
    cancels.push(set("never", 1));
    const other = set("neither", 1);
    other();
    other();
    clock.advance(10);
    expect(fired).toEqual([]);
    expect(clock.pending()).toEqual([]);
  });

  test("keeps both clocks in step when it advances, and parts them on a step or a suspension", () => {
    const { clock, fired, set } = rig();
    set("a", 10);
    clock.advance(5);
    expect(clock.now()).toEqual({ wall: 1_005, mono: 55 });
    clock.stepWall(-500);
    expect(clock.now()).toEqual({ wall: 505, mono: 55 });
    clock.suspend(3_600_000);
    expect(clock.now()).toEqual({ wall: 3_600_505, mono: 55 });
    expect(fired).toEqual([]);
    clock.advance(5);
    expect(fired).toEqual(["a@10"]);
  });

  test("fires late what came due during a stall", () => {
    const { clock, fired, set } = rig();
    set("a", 10);
    set("b", 20);
    clock.stall(15);
    expect(fired).toEqual([]);
    clock.advance(5);
    expect(fired).toEqual(["a@15", "b@20"]);
  });

  test("says when a timer is set", async () => {
    const { clock, set } = rig();
    const armed = clock.armed();
    set("a", 10);
    await armed;
    await clock.armed();
    const next = clock.nextArmed();
    set("b", 10);
    await next;
    expect(clock.pending()).toHaveLength(2);
  });

  test("moves from timer to timer, and says when there is none left", () => {
    const { clock, fired, set } = rig();
    set("a", 10);
    set("b", 1_000_000_000_000);
    expect([clock.advanceToNext(), clock.advanceToNext(), clock.advanceToNext()]).toEqual([
      true,
      true,
      false,
    ]);
    expect(fired).toEqual(["a@10", "b@1000000000000"]);
  });

  test("stops at a timer that throws, and goes on with the rest afterwards", () => {
    const { clock, fired, set } = rig();
    clock.timer(durationMs(5), () => {
      throw new Error("from a timer");
    });
    set("b", 6);
    expect(() => clock.advance(10)).toThrow("from a timer");
    expect(clock.now().mono).toBe(55);
    clock.advance(1);
    expect(fired).toEqual(["b@6"]);
  });

  test("refuses to go back and to loop forever", () => {
    const { clock } = rig();
    expect(() => clock.advance(-1)).toThrow(RangeError);
    expect(() => clock.timer(durationMs(Number.NaN), () => undefined)).toThrow(RangeError);
    const again = (): void => void clock.timer(durationMs(0), again);
    again();
    expect(() => clock.advance(1)).toThrow("endlessly");
  });
});
