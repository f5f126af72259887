/** The machine's clocks and its source of chance. Nothing else in the tree may ask for them. */
import { randomFillSync } from "node:crypto";
import {
  type CancelTimer,
  type Clock,
  type DurationMs,
  epochMs,
  monoMs,
  type Now,
  type Random,
} from "../protocol/time.ts";

/** `setTimeout` fires at once for longer delays than this, so longer timers are chained. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now(): Now {
    return { wall: epochMs(Date.now()), mono: monoMs(performance.now()) };
  },
  timer(delay: DurationMs, fire: () => void, background = false): CancelTimer {
    const end = performance.now() + delay;
    let handle: NodeJS.Timeout;
    const arm = (): void => {
      const left = Math.max(0, Math.ceil(end - performance.now()));
      handle =
        left > LONGEST_TIMEOUT_MS ? setTimeout(arm, LONGEST_TIMEOUT_MS) : setTimeout(fire, left);
      if (background) handle.unref();
    };
    arm();
    return () => clearTimeout(handle);
  },
};

export const systemRandom: Random = {
  bytes: (length) => randomFillSync(new Uint8Array(length)),
  unit: () => Math.random(),
};
