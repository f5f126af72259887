/**
 * The forms in which Google says no: OAuth errors of STS, and the JSON form of gRPC statuses of all
 * other services. Judging a request returns one of these, it never throws.
 */
import type { Answer } from "../aws-sts/exchange.ts";

export interface Refusal {
  readonly status: number;
  /** An OAuth error (`invalid_grant`) or a gRPC status (`PERMISSION_DENIED`). */
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

export function json(status: number, value: unknown, headers: Record<string, string> = {}): Answer {
  return {
    status,
    headers: { "content-type": "application/json; charset=UTF-8", ...headers },
    body: JSON.stringify(value),
  };
}

/** As STS answers (RFC 6749, section 5.2). */
export const oauthError = ({ status, code, message }: Refusal): Answer =>
  json(status, { error: code, error_description: message });

/** As every other Google API answers (AIP-193). */
export const apiError = ({ status, code, message }: Refusal): Answer =>
  json(status, {
    error: { code: status, message, status: code, errors: [{ message, reason: code }] },
  });

/** What a captive portal answers with. */
export const GARBAGE: Answer = {
  status: 200,
  headers: { "content-type": "text/html" },
  body: "<html><head><title>Welcome</title></head><body><p>Sign in to the network</body></html>\n",
};
