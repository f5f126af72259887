/**
 * Declared scopes as an inline session policy: what the session may do is the role's permissions
 * and this, so that it can only narrow (form: delivery.md 3.3). Pure. An empty list of scopes is a
 * policy that denies all: leaving the policy out would grant all that the role may do.
 */
import * as z from "zod";

export const scopeSchema = z.strictObject({
  bucket: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "expected a bucket name")
    .describe("Name of the S3 bucket."),
  prefix: z
    .string()
    .max(1024, "expected at most 1024 characters")
    .refine((prefix) => !prefix.startsWith("/"), "expected no leading slash")
    .describe("Folder that is granted; a trailing slash is added. Empty: the whole bucket."),
  access: z
    .enum(["read", "write", "readwrite"], { error: "expected read, write or readwrite" })
    .describe("read gets objects; write puts and deletes them; readwrite does both."),
  list: z.boolean().default(true).describe("Whether the folder may be listed."),
  barePrefix: z
    .boolean()
    .default(false)
    .describe(
      "Also lists with the prefix without its slash, as S3A probes do. It shows the names of siblings that begin alike.",
    ),
});
export const scopesSchema = z
  .array(scopeSchema)
  .describe("What the session may reach in S3. An empty list denies everything.");
export type Scope = z.infer<typeof scopeSchema>;

interface Statement {
  readonly Effect: "Allow" | "Deny";
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: Readonly<Record<string, unknown>>;
}

export interface PolicyDocument {
  readonly Version: "2012-10-17";
  readonly Statement: readonly Statement[];
}

const READ = ["s3:GetObject", "s3:GetObjectVersion"];
/** CreateMultipartUpload, UploadPart and Complete need no more than PutObject. */
const WRITE = [
  "s3:PutObject",
  "s3:DeleteObject",
  "s3:AbortMultipartUpload",
  "s3:ListMultipartUploadParts",
];
const ACTIONS = { read: READ, write: WRITE, readwrite: [...READ, ...WRITE] } as const;

/** The policy of these scopes, in a partition (`aws`, `aws-cn`, …). */
export function scopesPolicy(scopes: readonly Scope[], partition: string): PolicyDocument {
  if (scopes.length === 0) {
    return policy([{ Effect: "Deny", Action: "*", Resource: "*" }]);
  }
  const arn = (resource: string): string => `arn:${partition}:s3:::${resource}`;
  const buckets = [...new Set(scopes.map(({ bucket }) => bucket))];
  const objects = (["read", "write", "readwrite"] as const).flatMap((access): Statement[] => {
    const granted = scopes.filter((scope) => scope.access === access);
    if (granted.length === 0) return [];
    const resources = granted.map((scope) => arn(`${scope.bucket}/${globOf(scope)}`));
    return [{ Effect: "Allow", Action: ACTIONS[access], Resource: [...new Set(resources)] }];
  });
  const lists = buckets.flatMap((bucket): Statement[] => {
    const listed = scopes.filter((scope) => scope.bucket === bucket && scope.list);
    if (listed.length === 0) return [];
    const list = { Effect: "Allow", Action: "s3:ListBucket", Resource: arn(bucket) } as const;
    if (listed.some(({ prefix }) => prefix === "")) return [list];
    const prefixes = [...new Set(listed.flatMap(listPrefixes))];
    return [{ ...list, Condition: { StringLike: { "s3:prefix": prefixes } } }];
  });
  const where: Statement = {
    Effect: "Allow",
    Action: "s3:GetBucketLocation",
    Resource: buckets.map(arn),
  };
  return policy([...objects, ...lists, where]);
}

const policy = (statements: readonly Statement[]): PolicyDocument => ({
  Version: "2012-10-17",
  Statement: statements,
});

/** With its slash: without one, `data` would grant `data_of_others/`, too. */
const folderOf = ({ prefix }: Scope): string =>
  prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;

const globOf = (scope: Scope): string => `${escapeGlob(folderOf(scope))}*`;

function listPrefixes(scope: Scope): string[] {
  const folder = folderOf(scope);
  const inside = [escapeGlob(folder), globOf(scope)];
  return scope.barePrefix ? [escapeGlob(folder.slice(0, -1)), ...inside] : inside;
}

/** Text that IAM takes as it stands: no wildcard, no policy variable. */
function escapeGlob(text: string): string {
  return text.replace(/[$*?]/g, (special) => `\${${special}}`);
}
