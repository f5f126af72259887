/** An end to every wait for Redis. */
import { EvergrantError } from "../../../protocol/errors.ts";
import type { Clock, DurationMs } from "../../../protocol/time.ts";

/**
 * The outcome of `work`, or a failure with QUEUE_UNAVAILABLE after `limit`; what `work` then still
 * does is not stopped, and how it ends is ignored.
 */
export function bounded<T>(
  work: Promise<T>,
  clock: Clock,
  limit: DurationMs,
  doing: string,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const cancel = clock.timer(limit, () =>
      reject(new EvergrantError("QUEUE_UNAVAILABLE", `${doing} failed (no answer in ${limit} ms)`)),
    );
    work.then(resolve, reject).finally(cancel);
  });
}
