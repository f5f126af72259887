/**
 * Who may use the store, and with which body: the signature, the live session credential, the payload's
 * hash and its chunks. Owns the error codes of S3 for all of these; the keys are the STS emulator's.
 */
import { type AuthProblem, type AuthRules, authenticate } from "../aws-sts/authenticate.ts";
import type { StsEmulator } from "../aws-sts/server.ts";
import { headerOf, scopeOf, sha256Hex, signingKey } from "../aws-sts/sigv4.ts";
import type { ReceivedRequest } from "../shared/exchange.ts";
import { granted, type Judged, refused } from "../shared/refusal.ts";
import { decodeChunked } from "./aws-chunked.ts";

/** Where keys and the time come from. */
export type KeySource = Pick<StsEmulator, "findKey" | "now">;

export interface Admitted {
  readonly data: Buffer;
  readonly trailers: ReadonlyMap<string, string>;
}

const RULES: AuthRules = { service: "s3", windowMs: 900_000, farMs: 900_000 };
const CODES: Readonly<Record<AuthProblem, readonly [number, string, string]>> = {
  unsigned: [403, "AccessDenied", "Access Denied"],
  incomplete: [400, "AuthorizationHeaderMalformed", "The authorization header is malformed"],
  "header-not-signed": [
    403,
    "AccessDenied",
    "There were headers present in the request which were not signed",
  ],
  "wrong-scope": [
    400,
    "AuthorizationHeaderMalformed",
    "The credential's scope is not of this service and day",
  ],
  "clock-apart": [
    403,
    "RequestTimeTooSkewed",
    "The difference between the request time and the current time is too large.",
  ],
  "clock-far-apart": [
    403,
    "RequestTimeTooSkewed",
    "The difference between the request time and the current time is too large.",
  ],
  "unknown-key": [
    403,
    "InvalidAccessKeyId",
    "The AWS Access Key Id you provided does not exist in our records.",
  ],
  mismatch: [
    403,
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided.",
  ],
  "bad-token": [400, "InvalidToken", "The provided token is malformed or otherwise invalid."],
  "expired-token": [400, "ExpiredToken", "The provided token has expired."],
};

const SIGNED_CHUNKS = new Set([
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
  "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
]);
const UNSIGNED_CHUNKS = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/** The decoded body of a request that a live session credential signed. Base keys are refused. */
export function admit(request: ReceivedRequest, source: KeySource): Judged<Admitted> {
  const stated = headerOf(request, "x-amz-content-sha256");
  const payloadHash = stated ?? sha256Hex(request.body);
  const keyring = { find: (id: string) => source.findKey(id) };
  const checked = authenticate(request, payloadHash, keyring, source.now(), RULES);
  if (!checked.ok) return refused(...CODES[checked.problem]);
  const { key, authorization, amzDate } = checked;
  if (key.sessionToken === undefined) {
    return refused(403, "AccessDenied", "Only temporary credentials are accepted here");
  }
  const signed = SIGNED_CHUNKS.has(payloadHash);
  if (!signed && payloadHash !== UNSIGNED_CHUNKS) {
    if (payloadHash !== "UNSIGNED-PAYLOAD" && payloadHash !== sha256Hex(request.body)) {
      const message =
        "The provided 'x-amz-content-sha256' header does not match what was computed.";
      return refused(400, "XAmzContentSHA256Mismatch", message);
    }
    return granted({ data: request.body, trailers: new Map() });
  }
  const scope = scopeOf(authorization);
  const signing = {
    key: signingKey(key.secretAccessKey.reveal(), scope),
    amzDate,
    scope,
    seed: authorization.signature,
  };
  const decoded = decodeChunked(request.body, signed ? signing : undefined);
  if (!decoded.ok) {
    return decoded.problem === "mismatch"
      ? refused(...CODES.mismatch)
      : refused(400, "IncompleteBody", "The chunks of the body are not well-formed");
  }
  const length = headerOf(request, "x-amz-decoded-content-length");
  if (length !== undefined && Number(length) !== decoded.data.length) {
    return refused(400, "IncompleteBody", "The body is not as long as it was said to be");
  }
  return granted({ data: decoded.data, trailers: decoded.trailers });
}
