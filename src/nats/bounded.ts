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

export interface PauseOptions {
  /** True: does not keep the process alive. */
  readonly background?: boolean;
  /** Ends the pause, and leaves no timer. */
  readonly signal?: AbortSignal | undefined;
}

export const pause = (
  clock: Clock,
  delay: DurationMs,
  { background = false, signal }: PauseOptions = {},
): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const end = (): void => {
      cancel();
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const cancel = clock.timer(delay, end, background);
    signal?.addEventListener("abort", end);
  });
