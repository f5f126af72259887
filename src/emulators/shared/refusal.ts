/**
 * What an emulated service says no with. Judging a request returns one of these, it never throws:
 * a refusal is an ordinary answer here.
 */

/** An error answer: HTTP status, an error code of the service and a text that holds no secret. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

export type Judged<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly refusal: Refusal };

export const granted = <T>(value: T): Judged<T> => ({ ok: true, value });

export const refused = (status: number, code: string, message: string): Judged<never> => ({
  ok: false,
  refusal: { status, code, message },
});
