/**
 * Declared scopes as a Credential Access Boundary: what the token may do is what the account may and
 * this, so that it can only narrow (form: delivery.md 4.1). Cloud Storage only. Pure.
 */
import * as z from "zod";

export const scopeSchema = z.strictObject({
  bucket: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/, "expected a bucket name")
    .describe("Name of the bucket. It needs uniform bucket-level access."),
  prefix: z
    .string()
    .refine((prefix) => Buffer.byteLength(prefix) <= 1024, "expected at most 1024 bytes")
    .refine((prefix) => !prefix.startsWith("/"), "expected no leading slash")
    .refine((prefix) => !/[\r\n]/.test(prefix), "expected no line end")
    .describe("Folder that is granted; a trailing slash is added. Empty: the whole bucket."),
  access: z
    .enum(["read", "write", "readwrite"], { error: "expected read, write or readwrite" })
    .describe("read gets objects; write puts and removes them; readwrite does both."),
  list: z.boolean().default(true).describe("Whether the folder may be listed."),
});
export type Scope = z.infer<typeof scopeSchema>;

interface BoundaryRule {
  readonly availableResource: string;
  readonly availablePermissions: string[];
  readonly availabilityCondition?: { readonly expression: string };
}

/** The JSON of the `options` field of the exchange that narrows. */
export interface AccessBoundary {
  readonly accessBoundary: { readonly accessBoundaryRules: BoundaryRule[] };
}

/** What one boundary may hold. */
export const MAX_RULES = 10;
/** Logical operators in one condition (the limit of IAM Conditions). */
const MAX_OPERATORS = 12;

/**
 * Roles by access. The object viewer may list, but only what the condition lets through; the bucket
 * writer needs removal, since overwriting an object takes it.
 */
const ROLES = {
  read: { listed: ["objectViewer"], plain: ["legacyObjectReader"] },
  write: { listed: ["legacyBucketWriter"], plain: ["legacyBucketWriter"] },
  readwrite: {
    listed: ["objectViewer", "legacyBucketWriter"],
    plain: ["legacyObjectReader", "legacyBucketWriter"],
  },
} as const;

/** The boundary of these scopes; it may have more rules than STS takes (`MAX_RULES`). */
export function accessBoundary(scopes: readonly Scope[]): AccessBoundary {
  const groups = new Map<string, Scope[]>();
  for (const scope of scopes) {
    const key = JSON.stringify([scope.bucket, scope.access, scope.list]);
    groups.set(key, [...(groups.get(key) ?? []), scope]);
  }
  const accessBoundaryRules = [...groups.values()].flatMap((group) => rulesOf(group));
  return { accessBoundary: { accessBoundaryRules } };
}

/** The rules of scopes that differ in their prefix alone. */
function rulesOf(group: readonly Scope[]): BoundaryRule[] {
  const [first] = group;
  if (first === undefined) return [];
  const { bucket, access, list } = first;
  const rule = {
    availableResource: `//storage.googleapis.com/projects/_/buckets/${bucket}`,
    availablePermissions: ROLES[access][list ? "listed" : "plain"].map(
      (role) => `inRole:roles/storage.${role}`,
    ),
  };
  const folders = [...new Set(group.map(folderOf))];
  // Without listing, the condition holds even the whole bucket to its objects.
  if (list && folders.includes("")) return [rule];
  const perRule = Math.floor((MAX_OPERATORS + 1) / (list ? 2 : 1));
  return chunks(folders, perRule).map((some) => ({
    ...rule,
    availabilityCondition: {
      expression: some.flatMap((folder) => clauses(bucket, folder, list)).join(" || "),
    },
  }));
}

function clauses(bucket: string, folder: string, list: boolean): string[] {
  const objects = `resource.name.startsWith(${celText(`projects/_/buckets/${bucket}/objects/${folder}`)})`;
  if (!list) return [objects];
  const attribute = "api.getAttribute('storage.googleapis.com/objectListPrefix', '')";
  return [objects, `${attribute}.startsWith(${celText(folder)})`];
}

/** With its slash: without one, `data` would grant `data_of_others/`, too. */
const folderOf = ({ prefix }: Scope): string =>
  prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;

/**
 * A text as a CEL string literal. `startsWith` knows no wildcards, so only what would end the literal
 * or begin an escape matters, and control characters, which CEL refuses or nobody could read.
 */
export function celText(text: string): string {
  const escaped = text.replace(/[\\'"\p{Cc}\u2028\u2029]/gu, (character) =>
    /[\\'"]/.test(character)
      ? `\\${character}`
      : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `'${escaped}'`;
}

function chunks<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) =>
    all.slice(index * size, (index + 1) * size),
  );
}
