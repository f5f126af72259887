/**
 * Judges the subject token of an exchange as a workload identity pool does: provider, issuer,
 * signature against the published key set, audience, times, subject. The token never goes into an
 * error text.
 */
import {
  createLocalJWKSet,
  decodeJwt,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  jwtVerify,
} from "jose";
import type { EpochMs } from "../../protocol/time.ts";
import { granted, type Judged, refused } from "../shared/refusal.ts";

/** A provider of a workload identity pool. Read anew for each call, so that keys can be rotated. */
export interface PoolProvider {
  /** `//iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/P/providers/X` */
  readonly name: string;
  /** The `iss` claim. */
  readonly issuer: string;
  /** The key set that was uploaded to the pool. */
  readonly jwks: JSONWebKeySet;
  /** Default: the provider's name, with `https:` or without. */
  readonly allowedAudiences?: readonly string[] | undefined;
  /** The attribute condition. Default: every subject. */
  readonly allowedSubjects?: readonly string[] | undefined;
}

export interface FederatedIdentity {
  /** `principal://iam.googleapis.com/…/workloadIdentityPools/P/subject/SUB` */
  readonly principal: string;
  readonly expiresAt: EpochMs;
  readonly assertionId: string | undefined;
}

const ALGORITHMS = ["RS256", "ES256"];
/** The longest life of an assertion (STS discovery document). */
const LONGEST_SEC = 48 * 3_600;
const LONGEST_SUBJECT = 127;

const invalidGrant = (message: string): Judged<never> => refused(400, "invalid_grant", message);

export async function judgeAssertion(
  token: string,
  provider: PoolProvider,
  now: EpochMs,
): Promise<Judged<FederatedIdentity>> {
  let issuer: string | undefined;
  try {
    issuer = decodeJwt(token).iss;
  } catch {
    return refused(400, "invalid_request", "Unable to parse the ID Token.");
  }
  if (issuer !== provider.issuer) {
    return invalidGrant(`The issuer in ID Token does not match the expected ${provider.issuer}.`);
  }
  const audience = provider.allowedAudiences ?? [provider.name, `https:${provider.name}`];
  try {
    const { payload } = await jwtVerify(token, createLocalJWKSet(provider.jwks), {
      issuer: provider.issuer,
      audience: [...audience],
      algorithms: ALGORITHMS,
      requiredClaims: ["exp", "iat", "sub", "aud"],
      currentDate: new Date(now),
    });
    return identityOf(payload, provider, now);
  } catch (thrown) {
    return refusalOf(thrown);
  }
}

function identityOf(
  { iat = 0, exp = 0, sub = "", jti }: JWTPayload,
  provider: PoolProvider,
  now: EpochMs,
): Judged<FederatedIdentity> {
  if (iat * 1000 > now) return invalidGrant("ID Token was issued in the future.");
  if (exp - iat > LONGEST_SEC) return invalidGrant("ID Token lives longer than 48 hours.");
  if (sub === "" || Buffer.byteLength(sub) > LONGEST_SUBJECT) {
    return refused(400, "invalid_request", "The size of mapped attribute google.subject exceeds.");
  }
  if (provider.allowedSubjects?.includes(sub) === false) {
    const message = "The given credential is rejected by the attribute condition.";
    return refused(400, "unauthorized_client", message);
  }
  const pool = provider.name.replace(/\/providers\/[^/]*$/, "");
  return granted({
    principal: `principal:${pool}/subject/${sub}`,
    expiresAt: (exp * 1000) as EpochMs,
    assertionId: jti,
  });
}

function refusalOf(thrown: unknown): Judged<never> {
  if (thrown instanceof errors.JWTExpired) return invalidGrant("ID Token is stale to sign-in.");
  if (thrown instanceof errors.JWTClaimValidationFailed) {
    return thrown.claim === "aud"
      ? invalidGrant("The audience in ID Token does not match the expected audience.")
      : invalidGrant(`The ${thrown.claim} claim of ID Token is missing or not acceptable.`);
  }
  if (thrown instanceof errors.JOSEAlgNotAllowed) {
    return invalidGrant("The signing algorithm of ID Token is not supported.");
  }
  return invalidGrant("Unable to verify the signature of ID Token with the provider's keys.");
}
