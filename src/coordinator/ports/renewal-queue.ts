/** SPI: the durable schedule of one job. It only ever raises a due; the core judges it. */
import type { Done } from "../../protocol/outcome.ts";
import type { DurationMs } from "../../protocol/time.ts";

/** One planned attempt. The three parts are its identity: adding it twice is harmless. */
export interface PlannedAttempt {
  readonly provider: string;
  readonly generation: number;
  readonly attempt: number;
}

export interface RenewalQueue {
  /**
   * Makes the queue hold exactly these attempts, each due after its delay (0: at once). What is
   * there already stays as it is; what is missing or failed is put back; what is not named is
   * removed. Yields how many had to be put in. Fails with QUEUE_UNAVAILABLE; the outcome may then
   * be either.
   */
  ensure(
    plan: readonly (PlannedAttempt & { readonly delay: DurationMs })[],
    done: Done<number>,
  ): void;
  /** Calls `due` for each attempt that comes due, at least once, until paused or closed. */
  consume(due: (attempt: PlannedAttempt) => void): void;
  /**
   * Takes nothing more until the next `consume`: what comes due is another's to take. One that is just
   * being taken may be lost; the next leader's `ensure` puts it back.
   */
  pause(): void;
  /** Calls back when a lost connection is there again. */
  onReconnect(back: () => void): void;
  /** Stops consuming. What is planned stays. */
  close(done: Done<void>): void;
  /** Removes the queue and all in it. For the end of the job. */
  obliterate(done: Done<void>): void;
}
