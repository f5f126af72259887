/**
 * What each error of STS means for the renewal: a total function of its code (delivery.md 3.2), or
 * where it has none that is known, of the HTTP status. Message text decides nothing. An SDK error
 * is never passed on as a cause: the SDK keeps request and response bodies on it (I9).
 */
import { type ErrorCode, EvergrantError } from "../../../protocol/errors.ts";

/** By the code in STS's answer, without the suffix `Exception` that SDKs add to some. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  // Throttling comes with 400, 429 or 503. The list is botocore's (retries/standard.py).
  Throttling: "ISSUER_THROTTLED",
  ThrottledException: "ISSUER_THROTTLED",
  RequestThrottled: "ISSUER_THROTTLED",
  TooManyRequests: "ISSUER_THROTTLED",
  ProvisionedThroughputExceeded: "ISSUER_THROTTLED",
  TransactionInProgress: "ISSUER_THROTTLED",
  RequestLimitExceeded: "ISSUER_THROTTLED",
  BandwidthLimitExceeded: "ISSUER_THROTTLED",
  LimitExceeded: "ISSUER_THROTTLED",
  SlowDown: "ISSUER_THROTTLED",
  PriorRequestNotComplete: "ISSUER_THROTTLED",
  EC2ThrottledException: "ISSUER_THROTTLED",
  // The service, or the identity provider that it asks, is in trouble.
  InternalFailure: "ISSUER_UNAVAILABLE",
  InternalError: "ISSUER_UNAVAILABLE",
  InternalServerError: "ISSUER_UNAVAILABLE",
  ServiceUnavailable: "ISSUER_UNAVAILABLE",
  IDPCommunicationError: "ISSUER_UNAVAILABLE",
  RequestTimeout: "ISSUER_TIMEOUT",
  // Base credentials, web identity token, or the clock.
  ExpiredToken: "ISSUER_IDENTITY_REJECTED",
  InvalidClientTokenId: "ISSUER_IDENTITY_REJECTED",
  UnrecognizedClient: "ISSUER_IDENTITY_REJECTED",
  RequestExpired: "ISSUER_IDENTITY_REJECTED",
  RequestTimeTooSkewed: "ISSUER_IDENTITY_REJECTED",
  SignatureDoesNotMatch: "ISSUER_IDENTITY_REJECTED",
  InvalidSignature: "ISSUER_IDENTITY_REJECTED",
  IncompleteSignature: "ISSUER_IDENTITY_REJECTED",
  MissingAuthenticationToken: "ISSUER_IDENTITY_REJECTED",
  InvalidIdentityToken: "ISSUER_IDENTITY_REJECTED",
  IDPRejectedClaim: "ISSUER_IDENTITY_REJECTED",
  // Permissions.
  AccessDenied: "ISSUER_DENIED",
  NotAuthorized: "ISSUER_DENIED",
  OptInRequired: "ISSUER_DENIED",
  // The request itself.
  MalformedPolicyDocument: "ISSUER_REQUEST_INVALID",
  PackedPolicyTooLarge: "ISSUER_REQUEST_INVALID",
  ValidationError: "ISSUER_REQUEST_INVALID",
  Validation: "ISSUER_REQUEST_INVALID",
  RegionDisabled: "ISSUER_REQUEST_INVALID",
  InvalidParameterValue: "ISSUER_REQUEST_INVALID",
  InvalidParameterCombination: "ISSUER_REQUEST_INVALID",
  MissingParameter: "ISSUER_REQUEST_INVALID",
  InvalidAction: "ISSUER_REQUEST_INVALID",
  MalformedQueryString: "ISSUER_REQUEST_INVALID",
};

/** A map, since a code comes from outside and might be the name of an object's own method. */
const CODE_OF: ReadonlyMap<string, ErrorCode> = new Map(Object.entries(CODES));

/** Codes whose text helps an operator and quotes no signature. Known secrets are taken out of it. */
const QUOTED = new Set([
  "AccessDenied",
  "ValidationError",
  "MalformedPolicyDocument",
  "PackedPolicyTooLarge",
  "RegionDisabled",
  "InvalidIdentityToken",
  "IDPRejectedClaim",
]);
const LONGEST_QUOTE = 400;

/**
 * The class of one refusal. `stsCode` is undefined where the answer was none of STS's own: a proxy,
 * a captive portal, a truncated body.
 */
export function codeOfRefusal(stsCode: string | undefined, httpStatus: number): ErrorCode {
  const known =
    stsCode === undefined ? undefined : (CODE_OF.get(plain(stsCode)) ?? CODE_OF.get(stsCode));
  if (known !== undefined) return known;
  if (httpStatus === 429) return "ISSUER_THROTTLED";
  if (httpStatus === 408) return "ISSUER_TIMEOUT";
  if (httpStatus >= 500) return "ISSUER_UNAVAILABLE";
  if (stsCode === undefined || httpStatus < 400) return "ISSUER_ANSWER_UNUSABLE";
  return httpStatus === 401 || httpStatus === 403 ? "ISSUER_DENIED" : "ISSUER_REQUEST_INVALID";
}

/** Every code that the table knows; for documents and tests. */
export const KNOWN_STS_CODES: readonly string[] = Object.keys(CODES);

const plain = (code: string): string => code.replace(/Exception$/, "");

/** What is known about a call that has failed. */
export interface FailedCall {
  readonly action: string;
  readonly endpoint: string;
  /** Undefined: no answer came. */
  readonly httpStatus: number | undefined;
  readonly aborted: boolean;
  /** What the request carried; taken out of any text that is quoted. */
  readonly secrets: readonly string[];
}

/** Any value that the SDK has thrown for a call, as an EvergrantError without a secret or a cause. */
export function stsErrorOf(thrown: unknown, call: FailedCall): EvergrantError {
  if (thrown instanceof EvergrantError) return thrown;
  const { action, endpoint, httpStatus } = call;
  const fields = fieldsOf(thrown);
  const facts = { action, endpoint };
  // The SDK calls resets and broken pipes a TimeoutError, too; their own code tells them apart.
  const timedOut = fields.name === "TimeoutError" && (fields.errno ?? "ETIMEDOUT") === "ETIMEDOUT";
  if (call.aborted || timedOut) {
    const message = `STS ${action} at ${endpoint} was not answered in time`;
    return new EvergrantError("ISSUER_TIMEOUT", message, { details: facts });
  }
  if (httpStatus === undefined) {
    const reason = fields.errno ?? fields.name;
    const code = fields.errno === undefined ? "PROVIDER_FAILED" : "ISSUER_UNAVAILABLE";
    const message = `STS ${action} at ${endpoint} got no answer (${reason})`;
    return new EvergrantError(code, message, { details: { ...facts, reason } });
  }
  const code = codeOfRefusal(fields.stsCode, httpStatus);
  const details = {
    ...facts,
    httpStatus,
    ...(fields.stsCode ? { issuerCode: fields.stsCode } : {}),
  };
  if (fields.stsCode === undefined) {
    const message = `STS ${action} at ${endpoint} was answered with HTTP ${httpStatus}, and not in the form of STS`;
    return new EvergrantError(code, message, { details });
  }
  const quote = QUOTED.has(plain(fields.stsCode)) ? `: ${quoted(fields.text, call.secrets)}` : "";
  const message = `STS ${action} at ${endpoint} refused with ${fields.stsCode} (HTTP ${httpStatus})${quote}`;
  return new EvergrantError(code, message, { details });
}

interface Fields {
  readonly name: string;
  readonly text: string;
  /** The `<Code>` of STS's answer. The SDK sets a `name` in every case, but `Code` only from an answer. */
  readonly stsCode: string | undefined;
  /** A code of Node's, e.g. ECONNREFUSED or CERT_HAS_EXPIRED. */
  readonly errno: string | undefined;
}

function fieldsOf(thrown: unknown): Fields {
  const error: Readonly<Record<string, unknown>> =
    typeof thrown === "object" && thrown !== null ? { ...thrown } : {};
  const { Code: stsCode, code: errno } = error;
  return {
    name: thrown instanceof Error ? thrown.name : typeof thrown,
    text: thrown instanceof Error ? thrown.message : "",
    stsCode: typeof stsCode === "string" && /^[\w.]{1,100}$/.test(stsCode) ? stsCode : undefined,
    errno: typeof errno === "string" && /^[A-Z0-9_]{2,60}$/.test(errno) ? errno : undefined,
  };
}

function quoted(text: string, secrets: readonly string[]): string {
  const without = secrets
    .filter((secret) => secret.length > 0)
    .reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), text);
  return without.replace(/\s+/g, " ").slice(0, LONGEST_QUOTE);
}
