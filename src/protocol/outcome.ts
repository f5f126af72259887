/**
 * How I/O reports back to a pure core: by one call of `done`, never by a promise, so that a whole
 * cluster can be replayed on one thread with no scheduler in between (docs/adr/0004).
 */
import { type ErrorCode, EvergrantError } from "./errors.ts";

export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: EvergrantError };

/** Called exactly once, possibly before the call that was given it returns. */
export type Done<T> = (outcome: Outcome<T>) => void;

export const success = <T>(value: T): Outcome<T> => ({ ok: true, value });
export const failure = (error: EvergrantError): Outcome<never> => ({ ok: false, error });

/** Bridges promise-based I/O to `done`. A rejection becomes an EvergrantError under `fallback`. */
export function settle<T>(
  work: () => Promise<T>,
  done: Done<T>,
  fallback: ErrorCode,
  doing: string,
): void {
  Promise.resolve()
    .then(work)
    .then(
      (value) => done(success(value)),
      (thrown: unknown) => done(failure(EvergrantError.from(thrown, fallback, doing))),
    );
}
