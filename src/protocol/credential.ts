/**
 * A credential as everything above the provider sees it, and the known forms of its secret
 * material. A kind that is not listed here travels unchanged: plug-ins bring their own.
 */
import * as z from "zod";
import { nameSchema } from "./names.ts";
import { Secret } from "./secret.ts";
import { type DurationMs, durationMs, type EpochMs, epochMs } from "./time.ts";

/** Secret material: any JSON object. What is in it is between the provider and the receivers of its kind. */
export type Material = Readonly<Record<string, unknown>>;

/** Facts for consumers that are no secret, e.g. `region`, `accountId`, `email`. */
export type Attributes = Readonly<Record<string, string>>;

export interface Credential {
  /** The configured name of the provider that obtained it. */
  readonly provider: string;
  /** Which receivers can serve it: `aws-session`, `google-token`, `hadoop-tokens`, or a plug-in's own. */
  readonly kind: string;
  /** The job-wide generation in which it was obtained. */
  readonly generation: number;
  /** By the issuer's clock. */
  readonly issuedAt: EpochMs;
  /** By the issuer's clock. At and after this instant nobody may be handed it (I2). */
  readonly expiresAt: EpochMs;
  /** The issuer's clock less the coordinator's when it was obtained: what turns `expiresAt` into the coordinator's time. */
  readonly issuerSkew: DurationMs;
  readonly attributes: Attributes;
  readonly material: Secret<Material>;
}

/** The wire form: the only one that shows the material, and only ever inside a sealed envelope. */
export const credentialWireSchema = z.object({
  provider: nameSchema,
  kind: z.string().min(1).max(64),
  generation: z.int().min(1),
  issuedAtMs: z.int().min(0),
  expiresAtMs: z.int().min(0),
  issuerSkewMs: z.int(),
  attributes: z.record(z.string(), z.string()),
  material: z.record(z.string(), z.unknown()),
});
export type CredentialWire = z.infer<typeof credentialWireSchema>;

export function credentialToWire(credential: Credential): CredentialWire {
  const { issuedAt, expiresAt, issuerSkew, material, attributes, ...rest } = credential;
  return {
    ...rest,
    issuedAtMs: issuedAt,
    expiresAtMs: expiresAt,
    issuerSkewMs: issuerSkew,
    attributes: { ...attributes },
    material: { ...material.reveal() },
  };
}

export function credentialFromWire(wire: CredentialWire): Credential {
  const { issuedAtMs, expiresAtMs, issuerSkewMs, material, ...rest } = wire;
  return {
    ...rest,
    issuedAt: epochMs(issuedAtMs),
    expiresAt: epochMs(expiresAtMs),
    issuerSkew: durationMs(issuerSkewMs),
    material: new Secret(material),
  };
}

/** Kind `aws-session`: what STS returns. No length limit: AWS says to assume none. */
export const awsSessionSchema = z.object({
  accessKeyId: z.string().min(16),
  secretAccessKey: z.string().min(1),
  sessionToken: z.string().min(1),
});
export type AwsSession = z.infer<typeof awsSessionSchema>;
export const AWS_SESSION = "aws-session";

/** Kind `google-token`: one access token. */
export const googleTokenSchema = z.object({ accessToken: z.string().min(1) });
export type GoogleToken = z.infer<typeof googleTokenSchema>;
export const GOOGLE_TOKEN = "google-token";

/**
 * Kind `hadoop-tokens`: entries for Hadoop's token storage file, keyed by alias. Every token bears its
 * own end, since the credential's is that of the first one to end among those that still renew.
 */
export const hadoopTokensSchema = z.object({
  tokens: z.array(
    z.object({
      alias: z.string(),
      /** The token in Hadoop's url string form, already under the kind and service that its consumer looks for. */
      urlString: z.string().min(1),
      /** The configured service that it came from. */
      source: z.string().optional(),
      /** When its current extension began and when it ends, on the clock of the credential's `expiresAt`. Absent: as the credential's. */
      renewedAtMs: z.int().min(0).optional(),
      expiresAtMs: z.int().min(0).optional(),
    }),
  ),
  secrets: z.array(z.object({ alias: z.string(), valueBase64: z.string() })).optional(),
  /** Replaced tokens that are still alive: for the coordinator, which cancels them at the end of the job. */
  replaced: z
    .array(
      z.object({
        urlString: z.string().min(1),
        source: z.string(),
        replacedAtMs: z.int().min(0),
        expiresAtMs: z.int().min(0),
      }),
    )
    .optional(),
});
export type HadoopTokens = z.infer<typeof hadoopTokensSchema>;
export const HADOOP_TOKENS = "hadoop-tokens";

/** The expiry on the coordinator's clock, where agents count it down. */
export const expiryOnCoordinatorClock = (credential: Credential): EpochMs =>
  epochMs(credential.expiresAt - credential.issuerSkew);
