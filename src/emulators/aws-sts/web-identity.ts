/**
 * Judges the JWT of AssumeRoleWithWebIdentity: structure, issuer, signature, audience and times, in
 * the error codes of STS. The token never goes into an error text.
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

/** An OIDC provider that the account trusts. Read anew for each call, so that keys can be rotated. */
export interface IdentityProvider {
  /** The `iss` claim, e.g. `https://oidc.example.test`. */
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly jwks: JSONWebKeySet;
}

export interface WebIdentity {
  readonly subject: string;
  readonly audience: string;
  /** ARN-less name of the provider: the issuer without its scheme. */
  readonly provider: string;
  readonly tags: readonly (readonly [string, string])[];
  readonly transitiveTagKeys: readonly string[];
  readonly sourceIdentity?: string;
}

const ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"];
/** A token may be this much from the future. */
const EARLY_SEC = 300;

const invalid = (message: string): Judged<never> => refused(400, "InvalidIdentityToken", message);

export async function judgeWebIdentity(
  token: string,
  providers: readonly IdentityProvider[],
  now: EpochMs,
): Promise<Judged<WebIdentity>> {
  let issuer: string | undefined;
  try {
    issuer = decodeJwt(token).iss;
  } catch {
    return invalid("The ID Token provided is not a valid JWT.");
  }
  const provider = providers.find((candidate) => candidate.issuer === issuer);
  if (provider === undefined) {
    return invalid("No OpenIDConnect provider found in your account for the token's issuer");
  }
  try {
    const { payload } = await jwtVerify(token, createLocalJWKSet(provider.jwks), {
      issuer: provider.issuer,
      audience: [...provider.audiences],
      algorithms: ALGORITHMS,
      requiredClaims: ["exp", "iat", "sub", "aud"],
      currentDate: new Date(now),
    });
    if ((payload.iat ?? 0) * 1000 > now + EARLY_SEC * 1000) {
      return invalid("Token issued in the future");
    }
    return granted(identityOf(payload, provider));
  } catch (thrown) {
    return refusalOf(thrown);
  }
}

function refusalOf(thrown: unknown): Judged<never> {
  if (thrown instanceof errors.JWTExpired) {
    return refused(400, "ExpiredTokenException", "Token expired");
  }
  if (thrown instanceof errors.JWTClaimValidationFailed) {
    return thrown.claim === "aud"
      ? invalid("Incorrect token audience")
      : invalid(`The token's ${thrown.claim} claim is missing or not acceptable`);
  }
  if (thrown instanceof errors.JOSEAlgNotAllowed) {
    return invalid("The token's signing algorithm is not supported");
  }
  return invalid("Couldn't retrieve verification key from your identity provider");
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;

function identityOf(payload: JWTPayload, provider: IdentityProvider): WebIdentity {
  const audiences = [payload.aud ?? []].flat();
  const claim = payload["https://aws.amazon.com/tags"];
  const principalTags = isObject(claim) ? claim["principal_tags"] : undefined;
  const transitive = isObject(claim) ? claim["transitive_tag_keys"] : undefined;
  const source = payload["https://aws.amazon.com/source_identity"];
  return {
    subject: payload.sub ?? "",
    audience: audiences.find((one) => provider.audiences.includes(one)) ?? "",
    provider: provider.issuer.replace(/^https?:\/\//, ""),
    tags: Object.entries(isObject(principalTags) ? principalTags : {}).map(([key, value]) => [
      key,
      String([value].flat()[0] ?? ""),
    ]),
    transitiveTagKeys: Array.isArray(transitive) ? transitive.map(String) : [],
    ...(typeof source === "string" ? { sourceIdentity: source } : {}),
  };
}
