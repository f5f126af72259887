/**
 * Judges who signed a request, for any emulated service. Owns the order of the checks and what each
 * finds; each service says by its own table which error code a finding is answered with.
 */
import { timingSafeEqual } from "node:crypto";
import type { EpochMs } from "../../protocol/time.ts";
import type { HeldKey, Keyring } from "./keyring.ts";
import {
  type Authorization,
  canonicalRequest,
  headerOf,
  parseAmzDate,
  parseAuthorization,
  type SignedRequest,
  scopeOf,
  signatureOf,
  signingKey,
  stringToSign,
} from "./sigv4.ts";

/** What can be wrong with a signature. The set is closed. */
export type AuthProblem =
  | "unsigned"
  | "incomplete"
  | "header-not-signed"
  | "wrong-scope"
  | "clock-apart"
  | "clock-far-apart"
  | "unknown-key"
  | "mismatch"
  | "bad-token"
  | "expired-token";

export interface AuthRules {
  readonly service: "sts" | "s3";
  /** `x-amz-date` may lie this far from the service's clock, either way. */
  readonly windowMs: number;
  /** Beyond this distance the finding is `clock-far-apart`. */
  readonly farMs: number;
}

/** What later checks of a body (signed chunks) need. */
export interface Authenticated {
  readonly ok: true;
  readonly key: HeldKey;
  readonly amzDate: string;
  readonly authorization: Authorization;
}

export interface AuthFailure {
  readonly ok: false;
  readonly problem: AuthProblem;
  /** As claimed; for counters. */
  readonly accessKeyId?: string;
}

const failed = (problem: AuthProblem, accessKeyId?: string): AuthFailure =>
  accessKeyId === undefined ? { ok: false, problem } : { ok: false, problem, accessKeyId };

/**
 * Checks the Authorization header, date, key, signature, session token and its expiry, in this order.
 * `payloadHash` is the hash that the canonical request ends with; whether it fits the body is the caller's check.
 */
export function authenticate(
  request: SignedRequest,
  payloadHash: string,
  keyring: Pick<Keyring, "find">,
  now: EpochMs,
  rules: AuthRules,
): Authenticated | AuthFailure {
  const header = headerOf(request, "authorization");
  if (header === undefined) return failed("unsigned");
  const authorization = parseAuthorization(header);
  const amzDate = headerOf(request, "x-amz-date");
  const signedAt = amzDate === undefined ? undefined : parseAmzDate(amzDate);
  if (authorization === undefined || amzDate === undefined || signedAt === undefined) {
    return failed("incomplete", authorization?.accessKeyId);
  }
  const { accessKeyId } = authorization;
  if (!coversHeaders(request, authorization)) return failed("header-not-signed", accessKeyId);
  if (authorization.service !== rules.service || authorization.day !== amzDate.slice(0, 8)) {
    return failed("wrong-scope", accessKeyId);
  }
  const apart = Math.abs(now - signedAt);
  if (apart > rules.farMs) return failed("clock-far-apart", accessKeyId);
  if (apart > rules.windowMs) return failed("clock-apart", accessKeyId);
  const key = keyring.find(accessKeyId);
  if (key === undefined) return failed("unknown-key", accessKeyId);
  const canonical = canonicalRequest(
    request,
    authorization.signedHeaders,
    payloadHash,
    rules.service === "s3",
  );
  const scope = scopeOf(authorization);
  const expected = signatureOf(
    signingKey(key.secretAccessKey.reveal(), scope),
    stringToSign(amzDate, scope, canonical),
  );
  if (!sameText(expected, authorization.signature)) return failed("mismatch", accessKeyId);
  const token = headerOf(request, "x-amz-security-token");
  const wanted = key.sessionToken?.reveal();
  if (token === undefined ? wanted !== undefined : !sameText(wanted ?? "", token)) {
    return failed("bad-token", accessKeyId);
  }
  if (key.expiresAt !== undefined && now >= key.expiresAt)
    return failed("expired-token", accessKeyId);
  return { ok: true, key, amzDate, authorization };
}

/** `host` and every `x-amz-*` header that is present must be signed. */
function coversHeaders(request: SignedRequest, authorization: Authorization): boolean {
  const signed = new Set(authorization.signedHeaders);
  return (
    signed.has("host") &&
    request.headers.every(([name]) => {
      const lower = name.toLowerCase();
      return !lower.startsWith("x-amz-") || signed.has(lower);
    })
  );
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
