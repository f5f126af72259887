/**
 * A clock that moves only when the test says so, with the wall and the monotonic clock apart.
 * Owns the order in which timers fire; refuses to know why they were set.
 */
import {
  type CancelTimer,
  type Clock,
  type DurationMs,
  durationMs,
  type EpochMs,
  epochMs,
  later,
  type MonoMs,
  monoMs,
  type Now,
} from "../../src/protocol/time.ts";

/** A timer that was set and has neither fired nor been cancelled. */
export interface PendingTimer {
  /** When it fires, on the monotonic clock. */
  readonly due: MonoMs;
  /** As it was asked for. */
  readonly delay: DurationMs;
  readonly background: boolean;
}

export interface ManualClockStart {
  /** Default: 2026-01-01T00:00:00Z. */
  readonly wall?: EpochMs;
  /** Default: 1 000 000, so that nobody takes it for a wall clock. */
  readonly mono?: MonoMs;
}

interface Timer extends PendingTimer {
  readonly fire: () => void;
}

/** More timers than this in one `advance` is a loop that re-arms itself with no delay. */
const MOST_FIRED_AT_ONE_INSTANT = 100_000;

/**
 * Timers fire synchronously inside `advance`, in the order of their due times, equals in the order
 * in which they were set; each sees `now()` at its own due time. A timer that is set while another
 * fires takes part in the same `advance` if it comes due within it, also with delay 0. What a timer
 * throws leaves `advance`, with the clock standing at that timer and the rest still pending.
 * Called from within a firing timer, `advance` works as usual; the outer one then goes on.
 */
export class ManualClock implements Clock {
  #wall: EpochMs;
  #mono: MonoMs;
  readonly #timers: Timer[] = [];
  #waiting: (() => void)[] = [];

  constructor(start: ManualClockStart = {}) {
    this.#wall = start.wall ?? epochMs(Date.UTC(2026, 0, 1));
    this.#mono = start.mono ?? monoMs(1_000_000);
  }

  now(): Now {
    return { wall: this.#wall, mono: this.#mono };
  }

  timer(delay: DurationMs, fire: () => void, background = false): CancelTimer {
    if (!(delay >= 0)) throw new RangeError(`a timer's delay is at least 0, not ${delay}`);
    const timer: Timer = {
      due: later(this.#mono, delay),
      delay,
      background,
      fire,
    };
    this.#timers.splice(this.#placeOf(timer.due), 0, timer);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at !== -1) this.#timers.splice(at, 1);
    };
  }

  /** What is set and has not fired, next first. */
  pending(): readonly PendingTimer[] {
    return this.#timers.map(({ due, delay, background }) => ({ due, delay, background }));
  }

  /** Resolves when the next timer is set after this call; at once if one is pending already. */
  armed(): Promise<void> {
    return this.#timers.length > 0 ? Promise.resolve() : this.nextArmed();
  }

  /** Resolves when the next timer is set after this call, whatever is pending. */
  nextArmed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Moves both clocks on by `ms` (0 or more) and fires what comes due on the way. */
  advance(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`time moves on by 0 or more, not by ${ms}`);
    this.#run(later(this.#mono, durationMs(ms)));
  }

  /** Moves on to the next pending timer and fires it, with all others of that instant. False: none. */
  advanceToNext(): boolean {
    const next = this.#timers[0];
    if (next === undefined) return false;
    this.#run(monoMs(Math.max(next.due, this.#mono)));
    return true;
  }

  /** Steps the wall clock alone, forwards or backwards; no timer notices (NTP, an operator). */
  stepWall(ms: number): void {
    this.#wall = later(this.#wall, durationMs(ms));
  }

  /**
   * The machine sleeps: the wall clock moves on, the monotonic one stands still (as on Linux), so
   * timers are as far away as before. A paused process (SIGSTOP) is `advance` after a long time.
   */
  suspend(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`a suspension lasts 0 or more, not ${ms}`);
    this.stepWall(ms);
  }

  /** Moves both clocks on without firing anything; what came due fires, late, at the next `advance`. */
  stall(ms: number): void {
    if (!(ms >= 0)) throw new RangeError(`a stall lasts 0 or more, not ${ms}`);
    this.#moveTo(later(this.#mono, durationMs(ms)));
  }

  #run(end: MonoMs): void {
    let fired = 0;
    for (;;) {
      const next = this.#timers[0];
      if (next === undefined || next.due > end) break;
      if (next.due > this.#mono) {
        this.#moveTo(next.due);
        fired = 0;
      }
      fired += 1;
      if (fired > MOST_FIRED_AT_ONE_INSTANT) throw new Error("timers re-arm themselves endlessly");
      this.#timers.shift();
      next.fire();
    }
    if (end > this.#mono) this.#moveTo(end);
  }

  /** Behind all that are due at the same instant or before: first in, first out. */
  #placeOf(due: MonoMs): number {
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const timer = this.#timers[middle];
      if (timer !== undefined && timer.due <= due) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #moveTo(mono: MonoMs): void {
    this.#wall = later(this.#wall, durationMs(mono - this.#mono));
    this.#mono = mono;
  }
}
