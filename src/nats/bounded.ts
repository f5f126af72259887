/** Promises that end in time. */
import type { Clock, DurationMs } from "../protocol/time.ts";

/** What `work` yields, or what `late` yields when it has not settled after `limit`. Both may throw. */
export function bounded<T>(
  clock: Clock,
  limit: DurationMs,
  work: Promise<T>,
  late: () => T,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.timer(limit, () => {
      try {
        resolve(late());
      } catch (error) {
        reject(error);
      }
    });
    work.then(resolve, reject).finally(cancel);
  });
}

/** @param background true: does not keep the process alive. */
export const pause = (clock: Clock, delay: DurationMs, background = false): Promise<void> =>
  new Promise((resolve) => void clock.timer(delay, resolve, background));
