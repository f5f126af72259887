import { describe, expect, it } from "vitest";
import { durationMs, epochMs, type MonoMs, monoMs } from "../../../src/protocol/time.ts";
import { type Machine, type MachineOptions, runMachine } from "../../../src/runtime/mailbox.ts";

type Event = { readonly kind: string };
type Effect = { readonly does: string };

/** A clock whose hands are moved by the test; at most one timer is ever expected. */
function handClock() {
  let mono = 0;
  const timers = new Map<number, { at: number; fire: () => void }>();
  let made = 0;
  return {
    now: () => ({ wall: epochMs(1_000_000 + mono), mono: monoMs(mono) }),
    timer(delay: number, fire: () => void) {
      made += 1;
      const id = made;
      timers.set(id, { at: mono + delay, fire });
      return () => void timers.delete(id);
    },
    pending: () => [...timers.values()].map(({ at }) => at),
    made: () => made,
    advance(by: number) {
      mono += by;
      for (const [id, { at, fire }] of [...timers]) {
        if (at > mono) continue;
        timers.delete(id);
        fire();
      }
    },
  };
}

interface Log {
  readonly seen: string[];
}

function machine(overrides: Partial<MachineOptions<Log, Event, Effect>> = {}) {
  const clock = handClock();
  const faults: unknown[] = [];
  const done: string[] = [];
  const made: Machine<Log, Event> = runMachine<Log, Event, Effect>({
    initial: { seen: [] },
    step: (state, event) => {
      state.seen.push(event.kind);
      return { state, effects: [], wakeAt: undefined };
    },
    perform: (effect) => void done.push(effect.does),
    wake: { kind: "wake" },
    clock,
    fault: (thrown) => void faults.push(thrown),
    ...overrides,
  });
  return { made, clock, faults, done };
}

describe("runMachine", () => {
  it("steps events in the order in which they were emitted", () => {
    const { made } = machine();
    for (const kind of ["a", "b", "c"]) made.emit({ kind });
    expect(made.state().seen).toEqual(["a", "b", "c"]);
  });

  it("performs all effects of a step before the next event, even when an effect answers at once", () => {
    const order: string[] = [];
    const { made } = machine({
      step: (state, event) => {
        order.push(`step ${event.kind}`);
        const effects = event.kind === "go" ? [{ does: "one" }, { does: "two" }] : [];
        return { state, effects, wakeAt: undefined };
      },
      perform: (effect, emit) => {
        order.push(`begin ${effect.does}`);
        emit({ kind: `answer ${effect.does}` });
        order.push(`end ${effect.does}`);
      },
    });
    made.emit({ kind: "go" });
    expect(order).toEqual([
      "step go",
      "begin one",
      "end one",
      "begin two",
      "end two",
      "step answer one",
      "step answer two",
    ]);
  });

  it("never runs a step inside another, whoever emits during one", () => {
    let depth = 0;
    let deepest = 0;
    const { made } = machine({
      step: (state, event) => {
        depth += 1;
        deepest = Math.max(deepest, depth);
        state.seen.push(event.kind);
        if (event.kind === "outer") made.emit({ kind: "inner" });
        depth -= 1;
        return { state, effects: [], wakeAt: undefined };
      },
    });
    made.emit({ kind: "outer" });
    expect(deepest).toBe(1);
    expect(made.state().seen).toEqual(["outer", "inner"]);
  });

  it("keeps one timer, re-armed only when the deadline has moved", () => {
    const at: Record<string, MonoMs | undefined> = {
      a: monoMs(100),
      b: monoMs(100),
      c: monoMs(50),
      d: undefined,
    };
    const { made, clock } = machine({
      step: (state, event) => ({ state, effects: [], wakeAt: at[event.kind] }),
    });
    made.emit({ kind: "a" });
    made.emit({ kind: "b" });
    expect([clock.pending(), clock.made()]).toEqual([[100], 1]);
    made.emit({ kind: "c" });
    expect([clock.pending(), clock.made()]).toEqual([[50], 2]);
    made.emit({ kind: "d" });
    expect(clock.pending()).toEqual([]);
  });

  it("emits the wake event when the deadline comes, and at once when it has passed", () => {
    const { made, clock } = machine({
      step: (state, event, now) => {
        state.seen.push(`${event.kind}@${now.mono}`);
        return { state, effects: [], wakeAt: event.kind === "start" ? monoMs(40) : undefined };
      },
    });
    clock.advance(10);
    made.emit({ kind: "start" });
    clock.advance(29);
    expect(made.state().seen).toEqual(["start@10"]);
    clock.advance(1);
    expect(made.state().seen).toEqual(["start@10", "wake@40"]);
    made.emit({ kind: "start" });
    expect(clock.pending()).toEqual([40]);
  });

  it.each(["step", "perform"])(
    "stops at an exception in %s and reports it exactly once",
    (where) => {
      const broken = new Error("defect");
      const { made, clock, faults, done } = machine({
        step: (state, event) => {
          if (where === "step" && event.kind === "bad") throw broken;
          return { state, effects: [{ does: event.kind }], wakeAt: monoMs(10) };
        },
        perform: (effect, emit) => {
          if (effect.does === "good") emit({ kind: "bad" });
          if (where === "perform" && effect.does === "bad") throw broken;
          done.push(effect.does);
        },
      });
      made.emit({ kind: "good" });
      made.emit({ kind: "bad" });
      made.emit({ kind: "later" });
      clock.advance(durationMs(100));
      expect(faults).toEqual([broken]);
      expect(done).toEqual(["good"]);
      expect(made.stopped).toBe(true);
      expect(clock.pending()).toEqual([]);
    },
  );

  it("drops the mailbox, the rest of the effects and the timer at stop", () => {
    const performed: string[] = [];
    const { made, clock } = machine({
      step: (state, event) => {
        state.seen.push(event.kind);
        return { state, effects: [{ does: "one" }, { does: "two" }], wakeAt: monoMs(5) };
      },
      perform: (effect, emit) => {
        performed.push(effect.does);
        emit({ kind: "dropped" });
        made.stop();
      },
    });
    made.emit({ kind: "go" });
    made.emit({ kind: "after" });
    clock.advance(10);
    made.stop();
    expect(made.state().seen).toEqual(["go"]);
    expect(performed).toEqual(["one"]);
    expect(clock.pending()).toEqual([]);
  });
});
