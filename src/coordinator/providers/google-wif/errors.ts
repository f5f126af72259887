/**
 * What each error of Google's means for the renewal: a total function of its code, which is an OAuth
 * error at STS and a gRPC status at IAM, or where it has none that is known, of the HTTP status.
 * Message text decides nothing. Owns the words about clocks that differ.
 */
import { type ErrorCode, EvergrantError } from "../../../protocol/errors.ts";
import { type DurationMs, seconds } from "../../../protocol/time.ts";

const CODES: Readonly<Record<string, ErrorCode>> = {
  // OAuth errors of STS. A rejected assertion: its key, audience, times; made anew once.
  invalid_grant: "ISSUER_IDENTITY_REJECTED",
  invalid_client: "ISSUER_IDENTITY_REJECTED",
  invalid_token: "ISSUER_IDENTITY_REJECTED",
  // The pool's attribute condition says no.
  unauthorized_client: "ISSUER_DENIED",
  access_denied: "ISSUER_DENIED",
  // The pool or its provider is not there, or the request is not one.
  invalid_target: "ISSUER_REQUEST_INVALID",
  invalid_request: "ISSUER_REQUEST_INVALID",
  invalid_scope: "ISSUER_REQUEST_INVALID",
  unsupported_grant_type: "ISSUER_REQUEST_INVALID",
  server_error: "ISSUER_UNAVAILABLE",
  internal_failure: "ISSUER_UNAVAILABLE",
  temporarily_unavailable: "ISSUER_UNAVAILABLE",
  slow_down: "ISSUER_THROTTLED",
  quota_exceeded: "ISSUER_THROTTLED",
  // gRPC statuses of IAM.
  UNAUTHENTICATED: "ISSUER_IDENTITY_REJECTED",
  PERMISSION_DENIED: "ISSUER_DENIED",
  INVALID_ARGUMENT: "ISSUER_REQUEST_INVALID",
  FAILED_PRECONDITION: "ISSUER_REQUEST_INVALID",
  OUT_OF_RANGE: "ISSUER_REQUEST_INVALID",
  NOT_FOUND: "ISSUER_REQUEST_INVALID",
  ALREADY_EXISTS: "ISSUER_REQUEST_INVALID",
  UNIMPLEMENTED: "ISSUER_REQUEST_INVALID",
  RESOURCE_EXHAUSTED: "ISSUER_THROTTLED",
  UNAVAILABLE: "ISSUER_UNAVAILABLE",
  INTERNAL: "ISSUER_UNAVAILABLE",
  ABORTED: "ISSUER_UNAVAILABLE",
  CANCELLED: "ISSUER_UNAVAILABLE",
  DATA_LOSS: "ISSUER_UNAVAILABLE",
  UNKNOWN: "ISSUER_UNAVAILABLE",
  DEADLINE_EXCEEDED: "ISSUER_TIMEOUT",
};

/** A map, since a code comes from outside and might be the name of an object's own method. */
const CODE_OF: ReadonlyMap<string, ErrorCode> = new Map(Object.entries(CODES));
/** Every code that the table knows; for documents and tests. */
export const KNOWN_GOOGLE_CODES: readonly string[] = Object.keys(CODES);

const LONGEST_QUOTE = 400;
/** Above this, clocks that differ are named in errors. The pool bears next to none. */
const NOTABLE_SKEW = seconds(10);

/** The step of an attempt. */
export type Step = "exchange" | "impersonate" | "downscope";

const STEPS: Readonly<Record<Step, string>> = {
  exchange: "the token exchange",
  impersonate: "generateAccessToken",
  downscope: "the exchange that narrows",
};

/** What is known about a step that has failed. */
export type FailedStep = {
  readonly step: Step;
  /** Host and port. */
  readonly endpoint: string;
} & (
  | { readonly kind: "aborted" }
  /** `reason` is a code of Node's, e.g. ECONNREFUSED; undefined: it was no error of the network. */
  | { readonly kind: "unanswered"; readonly reason: string | undefined }
  | {
      readonly kind: "refused";
      readonly httpStatus: number;
      /** Undefined: the answer was none of Google's: a proxy, a captive portal. */
      readonly googleCode: string | undefined;
      readonly text: string;
      /** What the request carried; taken out of any text that is quoted. */
      readonly secrets: readonly string[];
      /** The issuer's clock less the coordinator's. */
      readonly skew: DurationMs | undefined;
    }
);

/** The class of one refusal. */
export function codeOfRefusal(googleCode: string | undefined, httpStatus: number): ErrorCode {
  const known = googleCode === undefined ? undefined : CODE_OF.get(googleCode);
  if (known !== undefined) return known;
  if (httpStatus === 429) return "ISSUER_THROTTLED";
  if (httpStatus === 408) return "ISSUER_TIMEOUT";
  if (httpStatus >= 500) return "ISSUER_UNAVAILABLE";
  if (googleCode === undefined || httpStatus < 400) return "ISSUER_ANSWER_UNUSABLE";
  if (httpStatus === 401) return "ISSUER_IDENTITY_REJECTED";
  return httpStatus === 403 ? "ISSUER_DENIED" : "ISSUER_REQUEST_INVALID";
}

export function errorOf(failed: FailedStep): EvergrantError {
  const { step, endpoint } = failed;
  const what = `${STEPS[step]} at ${endpoint}`;
  const facts = { step, endpoint };
  if (failed.kind === "aborted") {
    return new EvergrantError("ISSUER_TIMEOUT", `${what} was not answered in time`, {
      details: facts,
    });
  }
  if (failed.kind === "unanswered") {
    const { reason } = failed;
    const code = reason === undefined ? "PROVIDER_FAILED" : "ISSUER_UNAVAILABLE";
    return new EvergrantError(code, `${what} got no answer (${reason ?? "unknown"})`, {
      details: { ...facts, reason: reason ?? "unknown" },
    });
  }
  const { googleCode, httpStatus, text, secrets, skew } = failed;
  const code = codeOfRefusal(googleCode, httpStatus);
  const apart = skew !== undefined && Math.abs(skew) > NOTABLE_SKEW ? skew : undefined;
  const details = {
    ...facts,
    httpStatus,
    ...(googleCode === undefined ? {} : { issuerCode: googleCode }),
    ...(apart === undefined ? {} : { clockSkewSec: Math.round(apart / 1000) }),
  };
  if (googleCode === undefined) {
    const message = `${what} was answered with HTTP ${httpStatus}, and not in the form of Google's API`;
    return new EvergrantError(code, message, { details });
  }
  const quote = text === "" ? "" : `: ${quoted(text, secrets)}`;
  const clocks = apart === undefined ? "" : `; ${clocksApart(apart)}`;
  const message = `${what} refused with ${googleCode} (HTTP ${httpStatus})${quote}${clocks}`;
  return new EvergrantError(code, message, { details });
}

/** For the operator: by how much, and which way. */
export function clocksApart(skew: DurationMs): string {
  const side = skew > 0 ? "behind" : "ahead of";
  return `the clock of this machine is ${Math.round(Math.abs(skew) / 1000)} s ${side} the issuer's`;
}

function quoted(text: string, secrets: readonly string[]): string {
  const without = secrets
    .filter((secret) => secret.length > 0)
    .reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), text)
    // A part of an assertion, or a token that is not ours.
    .replace(/eyJ[\w.-]{8,}|ya29\.[\w.-]{4,}/g, "[secret]");
  return without.replace(/\s+/g, " ").slice(0, LONGEST_QUOTE);
}
