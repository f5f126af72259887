/**
 * The options of `kind: aws-sts`, with every limit of STS that can be judged without a call
 * (botocore's model of STS, data/sts/2011-06-15/service-2.json). Owns no I/O: files are named here
 * and read at each attempt.
 */
import * as z from "zod";
import { scopesPolicy, scopesSchema } from "./session-policy.ts";

/** Characters that an inline session policy, and with it all managed ones, may have. */
export const LARGEST_POLICY = 2048;
const SESSION_WORD = /^[\w+=,.@-]*$/;
const LONGEST_SEC = { role: 43_200, user: 129_600 } as const;

const duration = (longest: number, normal: number) =>
  z
    .int({ error: `expected a whole number of seconds from 900 to ${longest}` })
    .min(900, `expected 900 to ${longest} seconds`)
    .max(longest, `expected 900 to ${longest} seconds`)
    .default(normal)
    .describe(`Lifetime to ask for, 900 to ${longest} seconds. What STS returns is what counts.`);

const word = (shortest: number, longest: number, pattern: RegExp, what: string) =>
  z
    .string()
    .min(shortest, `expected ${shortest} to ${longest} characters`)
    .max(longest, `expected ${shortest} to ${longest} characters`)
    .regex(pattern, `expected only ${what}`);

const roleArn = z
  .string()
  .min(20, "expected a role ARN of 20 to 2048 characters")
  .max(2048, "expected a role ARN of 20 to 2048 characters")
  .regex(/^arn:\S+$/, "expected a role ARN, e.g. arn:aws:iam::123456789012:role/lake")
  .describe("ARN of the role.");
const sessionName = word(2, 64, SESSION_WORD, "A-Z a-z 0-9 _ + = , . @ -").describe(
  "Role session name, shown in CloudTrail. Default: evergrant- and the job's name.",
);
const path = z.string().min(1, "expected a path");

const endpoint = {
  region: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "expected a region, e.g. eu-west-1")
    .describe("Region whose STS endpoint is asked; also told to consumers."),
  endpoint: z
    .url({ protocol: /^https?$/, error: "expected an http or https URL" })
    .optional()
    .describe("Address of STS in place of the region's own."),
};

/** Where the coordinator's own AWS credentials come from. Absent: the default chain of the AWS SDK. */
export const baseSchema = z
  .union(
    [
      z.strictObject({
        profile: z.string().min(1).describe("Profile of the shared configuration files."),
        credentialsFile: path.optional().describe("In place of ~/.aws/credentials."),
        configFile: path.optional().describe("In place of ~/.aws/config."),
      }),
      z.strictObject({
        webIdentity: z.strictObject({
          roleArn,
          tokenFile: path.describe("File with the OIDC token, read at each use."),
          sessionName: sessionName.optional(),
        }),
      }),
    ],
    { error: "expected {profile, …} or {webIdentity: {roleArn, tokenFile}}" },
  )
  .describe("The coordinator's own credentials. Default: the AWS SDK's default chain.");
export type BaseOptions = z.infer<typeof baseSchema>;

const grant = {
  roleArn,
  durationSec: duration(LONGEST_SEC.role, 3_600),
  sessionName: sessionName.optional(),
  scopes: scopesSchema.optional(),
  policy: z
    .union([z.string(), z.record(z.string(), z.unknown())])
    .optional()
    .describe("Inline session policy: a JSON document, as an object or a string."),
  policyFile: path
    .optional()
    .describe("File with the inline session policy, read at each attempt."),
  policyArns: z
    .array(
      z.string().min(20, "expected a policy ARN").max(2048).regex(/^arn:/, "expected a policy ARN"),
    )
    .min(1, "expected 1 to 10 policy ARNs")
    .max(10, "expected 1 to 10 policy ARNs")
    .optional()
    .describe("ARNs of managed session policies."),
};

const tagText = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;
const tags = z.record(
  word(1, 128, tagText, "letters, digits, spaces and _ . : / = + - @"),
  z
    .string()
    .max(256, "expected at most 256 characters")
    .regex(tagText, "expected only letters, digits, spaces and _ . : / = + - @"),
);

const assumeRole = z
  .strictObject({
    action: z.literal("AssumeRole"),
    ...endpoint,
    ...grant,
    externalId: word(2, 1224, /^[\w+=,.@:/-]*$/, "A-Z a-z 0-9 _ + = , . @ : / -")
      .optional()
      .describe("What the role's owner demands of third parties. Not a secret."),
    sourceIdentity: word(2, 64, SESSION_WORD, "A-Z a-z 0-9 _ + = , . @ -")
      .optional()
      .describe("Who is behind the session; sticks through role chaining."),
    tags: tags
      .refine((given) => Object.keys(given).length <= 50, "expected at most 50 tags")
      .optional()
      .describe("Session tags."),
    transitiveTagKeys: z
      .array(z.string())
      .max(50, "expected at most 50 keys")
      .optional()
      .describe("Keys of the session tags that roles assumed from this session inherit."),
    base: baseSchema.optional(),
  })
  .superRefine((options, context) => {
    judgePolicy(options, context);
    for (const [index, key] of (options.transitiveTagKeys ?? []).entries()) {
      if (options.tags?.[key] === undefined) {
        context.addIssue({
          code: "custom",
          path: ["transitiveTagKeys", index],
          message: `expected a key of tags; "${key}" is none`,
        });
      }
    }
  });

const assumeRoleWithWebIdentity = z
  .strictObject({
    action: z.literal("AssumeRoleWithWebIdentity"),
    ...endpoint,
    ...grant,
    webIdentityTokenFile: path.describe("File with the OIDC token, read at each attempt."),
  })
  .superRefine((options, context) => judgePolicy(options, context));

const getSessionToken = z.strictObject({
  action: z.literal("GetSessionToken"),
  ...endpoint,
  durationSec: duration(LONGEST_SEC.user, 43_200),
  base: baseSchema.optional(),
});

export const awsStsOptionsSchema = z.discriminatedUnion("action", [
  assumeRole,
  assumeRoleWithWebIdentity,
  getSessionToken,
]);
export type AwsStsOptions = z.infer<typeof awsStsOptionsSchema>;
export type RoleOptions = Exclude<AwsStsOptions, { action: "GetSessionToken" }>;

type Grant = Pick<RoleOptions, "roleArn" | "scopes" | "policy" | "policyFile" | "policyArns">;

/** A session has one inline policy at most, and it must fit; what is given must never be dropped. */
function judgePolicy(options: Grant, context: z.RefinementCtx): void {
  const given = (["scopes", "policy", "policyFile"] as const).filter(
    (name) => options[name] !== undefined,
  );
  const [first, second] = given;
  if (first !== undefined && second !== undefined) {
    const message = `expected one of scopes, policy and policyFile, since a session has one inline policy; ${given.join(" and ")} are given`;
    context.addIssue({ code: "custom", path: [second], message });
    return;
  }
  let inline: string | undefined;
  try {
    inline = inlinePolicy(options);
  } catch {
    const message = 'expected a JSON policy document: an object with "Statement"';
    context.addIssue({ code: "custom", path: ["policy"], message });
    return;
  }
  const managed = (options.policyArns ?? []).join("").length;
  const size = (inline?.length ?? 0) + managed;
  if (size <= LARGEST_POLICY) return;
  const prefixes = (options.scopes ?? []).map(({ bucket, prefix }) => `${bucket}/${prefix}`);
  const which = prefixes.length === 0 ? "" : `; scopes: ${prefixes.join(", ")}`;
  context.addIssue({
    code: "custom",
    path: [first ?? "policyArns"],
    message: `expected session policies of at most ${LARGEST_POLICY} characters together; they have ${size}${which}`,
  });
}

/** The inline session policy that the configuration itself states. Undefined: none, or in a file. */
export function inlinePolicy(options: Grant): string | undefined {
  if (options.scopes !== undefined) {
    return asciiJson(scopesPolicy(options.scopes, partitionOf(options.roleArn)));
  }
  return options.policy === undefined ? undefined : policyText(options.policy);
}

/**
 * A policy document as compact ASCII JSON: STS allows no character above U+00FF, and counts them all.
 * @throws TypeError or SyntaxError where it is no policy: what is given is never silently dropped.
 */
export function policyText(given: string | Readonly<Record<string, unknown>>): string {
  const document: unknown = typeof given === "string" ? JSON.parse(given) : given;
  if (typeof document !== "object" || document === null || !("Statement" in document)) {
    throw new TypeError("no policy document");
  }
  return asciiJson(document);
}

/** JSON without a character outside of printable ASCII. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** `aws`, `aws-cn`, `aws-us-gov`, …; `aws` for the ARNs of S3-compatible services. */
export function partitionOf(arn: string): string {
  const partition = arn.split(":")[1] ?? "";
  return /^aws(-[a-z]+)*$/.test(partition) ? partition : "aws";
}
