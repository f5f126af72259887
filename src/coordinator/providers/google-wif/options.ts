/**
 * The options of `kind: google-wif`, with every limit of Google's that can be judged without a call
 * (delivery.md 4.1). Owns no I/O: keys and tokens are named here and read at each attempt.
 */
import * as z from "zod";
import { accessBoundary, MAX_RULES, scopeSchema } from "./access-boundary.ts";

export const CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform";
export const DEFAULT_UNIVERSE = "googleapis.com";

/** The provider's full name, which is the audience of the exchange. */
const PROVIDER_NAME =
  /^\/\/iam\.[a-z0-9.-]+\/projects\/\d+\/locations\/global\/workloadIdentityPools\/[a-z0-9-]{4,32}\/providers\/[a-z0-9-]{4,32}$/;
const EMAIL = /^[a-z0-9.-]+@[a-z0-9.-]+\.[a-z]+$/;

const path = z.string().min(1, "expected a path");
const httpUrl = z.url({ protocol: /^https?$/, error: "expected an http or https URL" });
const email = z.string().max(200).regex(EMAIL, "expected a service account's e-mail address");

const format = z
  .union([z.literal("text"), z.strictObject({ jsonField: z.string().min(1) })], {
    error: 'expected "text" or {jsonField: NAME}',
  })
  .default("text")
  .describe("The token alone, or a JSON object with the token in the field jsonField.");

export const jwtSchema = z.strictObject({
  keyFile: path.describe("Private key, PKCS#8 (PEM) or JWK (JSON), read at each attempt."),
  issuer: httpUrl.max(255).describe("`iss`: as configured at the pool's provider."),
  subject: z
    .string()
    .min(1)
    .refine((text) => Buffer.byteLength(text) <= 127, "expected 1 to 127 bytes")
    .describe("`sub`: mapped to google.subject."),
  audience: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .describe("`aud`. Default: `https:` and the provider's name, which pools accept."),
  lifetimeSec: z
    .int()
    .min(60, "expected 60 to 86400 seconds")
    .max(86_400, "expected 60 to 86400 seconds")
    .default(3_600)
    .describe("From now to `exp`. It caps the token where no service account is impersonated."),
  backdateSec: z
    .int()
    .min(0)
    .max(300)
    .default(20)
    .describe("How far `iat` lies back, since Google refuses one from the future."),
  algorithm: z
    .enum(["RS256", "ES256", "EdDSA"])
    .optional()
    .describe("Default: by the key. Google accepts RS256 and ES256."),
  keyId: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .describe("`kid`. Default: that of the JWK, else the key's RFC 7638 thumbprint."),
});
export type JwtOptions = z.infer<typeof jwtSchema>;

const subjectTokenSchema = z.union(
  [
    z.strictObject({ jwt: jwtSchema.describe("A JWT that is signed here.") }),
    z.strictObject({ file: path.describe("File with the token, read at each attempt."), format }),
    z.strictObject({
      url: httpUrl.describe("Where a GET answers with the token."),
      headers: z.record(z.string(), z.string()).default({}).describe("Headers of the GET."),
      format,
    }),
    z.strictObject({
      command: z
        .array(z.string())
        .min(1, "expected the program and its arguments")
        .refine((argv) => argv[0] !== "", "expected a program first")
        .describe("Program and arguments that print the token. No shell reads them."),
      env: z.record(z.string(), z.string()).default({}).describe("Variables to set for it."),
      passEnv: z.array(z.string()).default([]).describe("Own variables to hand on to it."),
      format,
    }),
  ],
  { error: "expected one of {jwt}, {file}, {url} and {command}, with what belongs to it" },
);
export type SubjectTokenOptions = z.infer<typeof subjectTokenSchema>;

const serviceAccountSchema = z.strictObject({
  email: email.describe("The account to impersonate."),
  lifetimeSec: z
    .int()
    .min(600, "expected 600 to 43200 seconds")
    .max(43_200, "expected 600 to 43200 seconds")
    .default(3_600)
    .describe(
      "Lifetime to ask for. Above 3600 the organisation policy must allow it for the account.",
    ),
  delegates: z
    .array(email)
    .max(4, "expected at most 4 delegates")
    .default([])
    .describe("Accounts between the identity and `email`, each a token creator of the next."),
});

export const googleWifOptionsSchema = z
  .strictObject({
    audience: z
      .string()
      .regex(
        PROVIDER_NAME,
        "expected //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER",
      )
      .describe("Full name of the pool's provider."),
    subjectToken: subjectTokenSchema.describe("What proves who the coordinator is."),
    subjectTokenType: z
      .enum(["jwt", "id_token", "saml2"])
      .default("jwt")
      .describe("Type of the subject token, as the pool's provider wants it."),
    serviceAccount: serviceAccountSchema
      .optional()
      .describe("Absent: the federated token is handed out as it is; not every API takes it."),
    oauthScopes: z
      .array(z.url({ error: "expected OAuth scopes, which are URLs" }))
      .min(1, "expected at least one OAuth scope")
      .default([CLOUD_PLATFORM])
      .describe("OAuth scopes of the token."),
    scopes: z
      .array(scopeSchema)
      .min(1, "expected 1 or more; no boundary can deny everything. Leave it out for none")
      .optional()
      .describe("What the token may reach in Cloud Storage, and nothing else anywhere."),
    projectId: z
      .string()
      .regex(/^[a-z0-9:.-]{4,100}$/, "expected a project id")
      .optional()
      .describe("Told to consumers. Default: the project of the service account's address."),
    universeDomain: z
      .string()
      .regex(/^[a-z0-9.-]+$/, "expected a domain")
      .default(DEFAULT_UNIVERSE)
      .describe("Domain of the cloud; also told to consumers."),
    endpoints: z
      .strictObject({
        sts: httpUrl.optional().describe("In place of https://sts.UNIVERSE."),
        iamCredentials: httpUrl.optional().describe("In place of https://iamcredentials.UNIVERSE."),
      })
      .default({})
      .describe("Addresses, without a path, of other services than Google's."),
  })
  .superRefine(({ scopes }, context) => {
    if (scopes === undefined) return;
    const rules = accessBoundary(scopes).accessBoundary.accessBoundaryRules.length;
    if (rules <= MAX_RULES) return;
    const message = `expected scopes that fit in ${MAX_RULES} rules of a boundary; they need ${rules} (one for each bucket, access and list, for 6 prefixes)`;
    context.addIssue({ code: "custom", path: ["scopes"], message });
  });
export type GoogleWifOptions = z.infer<typeof googleWifOptionsSchema>;

/** `NAME@PROJECT.iam.gserviceaccount.com`: the project; undefined for other forms. */
export function projectOf(address: string | undefined): string | undefined {
  return /@([a-z0-9-]+)\.iam\.gserviceaccount\.com$/.exec(address ?? "")?.[1];
}
