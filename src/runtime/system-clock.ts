/** The machine's clocks and its source of chance. Nothing else in the tree may ask for them. */
import { randomFillSync } from "node:crypto";
import { uptime } from "node:os";
import {
  type CancelTimer,
  type Clock,
  type DurationMs,
  epochMs,
  monoMs,
  type Now,
  type Random,
} from "../protocol/time.ts";

/** A gap between the clocks that grows by more than this means a step of the wall clock, or a suspended machine. */
const PARTED_MS = 1000;

/**
 * Timers look at the clock at least this often: `setTimeout` does not count the time that a machine
 * was suspended, and it can't wait longer than 2^31 ms.
 */
const LONGEST_WAIT_MS = 15_000;

/** How long the machine has been suspended since this process began. Node's monotonic clock leaves that out. */
let suspendedMs = 0;
const bootOffsetMs = uptime() * 1000 - performance.now();
let gapMs = Date.now() - performance.now();

/** Reads both clocks. The monotonic one counts suspended time: credentials age while a laptop sleeps. */
function now(): Now {
  const wall = Date.now();
  const awake = performance.now();
  if (Math.abs(wall - awake - gapMs) > PARTED_MS) {
    gapMs = wall - awake;
    // The uptime tells the two apart: it goes on while suspended, and never steps.
    const suspended = uptime() * 1000 - awake - bootOffsetMs;
    if (suspended > suspendedMs + PARTED_MS) suspendedMs = suspended;
  }
  return { wall: epochMs(wall), mono: monoMs(awake + suspendedMs) };
}

export const systemClock: Clock = {
  now,
  timer(delay: DurationMs, fire: () => void, background = false): CancelTimer {
    const end = now().mono + delay;
    let handle: NodeJS.Timeout;
    const look = (): void => {
      const left = Math.ceil(end - now().mono);
      if (left <= 0) fire();
      else arm(left);
    };
    const arm = (left: number): void => {
      handle = setTimeout(look, Math.min(left, LONGEST_WAIT_MS));
      if (background) handle.unref();
    };
    arm(Math.max(0, Math.ceil(delay)));
    return () => clearTimeout(handle);
  },
};

export const systemRandom: Random = {
  bytes: (length) => randomFillSync(new Uint8Array(length)),
  unit: () => Math.random(),
};
