/**
 * The forms in which Google says no: OAuth errors of STS, and the JSON form of gRPC statuses of all
 * other services. A refusal's code is the error or the status.
 */
import type { Answer } from "../shared/exchange.ts";
import type { Refusal } from "../shared/refusal.ts";

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
