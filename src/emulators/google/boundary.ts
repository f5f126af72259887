/**
 * Credential Access Boundaries as Cloud Storage applies them: rules of buckets, roles and a condition.
 * A token with one may do what its source may and a rule allows. Only the subset of CEL that the
 * documentation names is known; anything else is refused when the token is issued.
 */
import * as z from "zod";
import { type Condition, parseCondition } from "./condition.ts";

export interface BoundaryRule {
  /** Name of the bucket. */
  readonly bucket: string;
  readonly permissions: ReadonlySet<string>;
  /** Undefined: always. */
  readonly condition: Condition | undefined;
}

const RESOURCE = /^\/\/storage\.googleapis\.com\/projects\/_\/buckets\/([a-z0-9][a-z0-9._-]+)$/;

const boundarySchema = z.strictObject({
  accessBoundary: z.strictObject({
    accessBoundaryRules: z
      .array(
        z.strictObject({
          availableResource: z.string().regex(RESOURCE),
          availablePermissions: z.array(z.string().regex(/^inRole:roles\/storage\.\w+$/)).min(1),
          availabilityCondition: z
            .strictObject({
              title: z.string().optional(),
              description: z.string().optional(),
              expression: z.string().min(1).max(4096),
            })
            .optional(),
        }),
      )
      .min(1)
      .max(10),
  }),
});

const GET = ["storage.objects.get"];
const LIST = ["storage.objects.list"];
const CREATE = ["storage.objects.create"];
const DELETE = ["storage.objects.delete"];
const BUCKET = ["storage.buckets.get"];

/** Permissions of the roles, as far as the resource server asks for them. */
const ROLES: Readonly<Record<string, readonly string[]>> = {
  legacyObjectReader: GET,
  legacyBucketReader: [...LIST, ...BUCKET],
  legacyBucketWriter: [...LIST, ...BUCKET, ...CREATE, ...DELETE],
  objectViewer: [...GET, ...LIST],
  objectCreator: CREATE,
  objectUser: [...GET, ...LIST, ...CREATE, ...DELETE],
  objectAdmin: [...GET, ...LIST, ...CREATE, ...DELETE],
};

/** The rules of the `options` of a token exchange; undefined where they can't be applied. */
export function readBoundary(options: string): readonly BoundaryRule[] | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(options);
  } catch {
    return undefined;
  }
  const boundary = boundarySchema.safeParse(parsed);
  if (!boundary.success) return undefined;
  const rules: BoundaryRule[] = [];
  for (const rule of boundary.data.accessBoundary.accessBoundaryRules) {
    const roles = rule.availablePermissions.map((role) =>
      role.replace("inRole:roles/storage.", ""),
    );
    if (roles.some((role) => !Object.hasOwn(ROLES, role))) return undefined;
    const expression = rule.availabilityCondition?.expression;
    const condition = expression === undefined ? undefined : parseCondition(expression);
    if (expression !== undefined && condition === undefined) return undefined;
    rules.push({
      bucket: RESOURCE.exec(rule.availableResource)?.[1] ?? "",
      permissions: new Set(roles.flatMap((role) => ROLES[role] ?? [])),
      condition,
    });
  }
  return rules;
}

/** One thing that a consumer wants to do in a bucket. */
export interface StorageAccess {
  readonly permission: string;
  readonly bucket: string;
  /** Undefined for operations on the bucket, e.g. listing. */
  readonly object?: string | undefined;
  /** The `prefix` of a listing. */
  readonly listPrefix?: string | undefined;
}

export function withinBoundary(rules: readonly BoundaryRule[], access: StorageAccess): boolean {
  const bucketName = `projects/_/buckets/${access.bucket}`;
  const facts = {
    resourceName:
      access.object === undefined ? bucketName : `${bucketName}/objects/${access.object}`,
    attributes: new Map(
      access.listPrefix === undefined
        ? []
        : [["storage.googleapis.com/objectListPrefix", access.listPrefix]],
    ),
  };
  return rules.some(
    ({ bucket, permissions, condition }) =>
      bucket === access.bucket &&
      permissions.has(access.permission) &&
      (condition === undefined || condition(facts)),
  );
}
