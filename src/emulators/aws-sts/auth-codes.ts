/** Which error STS answers each finding of the signature check with. The table is total. */
import { type Judged, refused } from "../shared/refusal.ts";
import type { AuthFailure, AuthProblem, AuthRules } from "./authenticate.ts";

/** STS accepts signatures within 5 min of its clock; the documented RequestExpired starts at 15. */
export const STS_AUTH_RULES: AuthRules = { service: "sts", windowMs: 300_000, farMs: 900_000 };

const MISMATCH =
  "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";
const INVALID_TOKEN = "The security token included in the request is invalid.";

const STS_CODES: Readonly<Record<AuthProblem, readonly [number, string, string]>> = {
  unsigned: [403, "MissingAuthenticationToken", "Request is missing Authentication Token"],
  incomplete: [
    403,
    "IncompleteSignature",
    "Authorization header requires Credential, SignedHeaders, Signature and a date.",
  ],
  "header-not-signed": [
    403,
    "SignatureDoesNotMatch",
    "'Host' and every 'X-Amz-*' header must be a 'SignedHeader' in the AWS Authorization.",
  ],
  "wrong-scope": [
    403,
    "SignatureDoesNotMatch",
    "Credential should be scoped to correct service: 'sts', and to the day of the request.",
  ],
  "clock-apart": [
    403,
    "SignatureDoesNotMatch",
    "Signature expired or not yet current: its date is more than 5 min. from this service's.",
  ],
  "clock-far-apart": [403, "RequestExpired", "Request has expired."],
  "unknown-key": [403, "InvalidClientTokenId", INVALID_TOKEN],
  mismatch: [403, "SignatureDoesNotMatch", MISMATCH],
  "bad-token": [403, "InvalidClientTokenId", INVALID_TOKEN],
  "expired-token": [403, "ExpiredToken", "The security token included in the request is expired"],
};

export function stsRefusalOf({ problem }: AuthFailure): Judged<never> {
  return refused(...STS_CODES[problem]);
}
