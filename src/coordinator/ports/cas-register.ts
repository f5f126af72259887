/**
 * SPI: one value that is read and replaced by compare-and-set. Lease, state and bundle of a job are
 * three of them; what they mean is the core's business (docs/adr/0007).
 */
import type { Done } from "../../protocol/outcome.ts";

/** Grows with each write, but may go back when the store loses data: only equality means something. */
export type Revision = number;

export interface Entry<T> {
  readonly revision: Revision;
  readonly value: T;
}

export interface Reading<T> {
  /** Undefined when nothing is stored. */
  readonly entry: Entry<T> | undefined;
  /** Changes when the store was lost and made anew: its creation time. */
  readonly incarnation: string;
}

export interface CasRegister<T> {
  /** Reads from the leader of the store. A hint: only a write decides. Fails with STORE_UNAVAILABLE, STORE_UNREADABLE. */
  read(done: Done<Reading<T>>): void;
  /**
   * Writes if the stored revision is `expected` (undefined: if nothing is stored).
   * Fails with STORE_CONFLICT when it is not, STORE_UNAVAILABLE when the outcome may be either.
   */
  write(expected: Revision | undefined, value: T, done: Done<Revision>): void;
  /** Deletes it, whatever its revision. For the end of the job. */
  remove(done: Done<void>): void;
}
