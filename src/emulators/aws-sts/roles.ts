/** Roles as data, and what their trust allows. Knows no request parameters. */
import { createHash } from "node:crypto";
import { granted, type Judged, refused } from "../shared/refusal.ts";
import { base32, type Principal } from "./keyring.ts";
import { CHAINED_MAX_SEC, ROLE_DURATION_SEC } from "./limits.ts";

/** One role that can be assumed. */
export interface StsRole {
  /** `arn:PARTITION:iam::ACCOUNT:role/[path/]NAME` */
  readonly arn: string;
  /** When set, AssumeRole must bring exactly this ExternalId. */
  readonly externalId?: string | undefined;
  /** MaxSessionDuration, 3600 to 43200, default 3600. */
  readonly maxSessionSec?: number | undefined;
  /**
   * ARNs of principals (users, roles, role sessions, OIDC providers), account ids, or `*`.
   * Default: everyone whose key or token is good.
   */
  readonly allowedPrincipals?: readonly string[] | undefined;
  /** `sub` claims that may come by web identity. Default: every one. */
  readonly allowedSubjects?: readonly string[] | undefined;
}

interface RoleName {
  readonly partition: string;
  readonly account: string;
  readonly name: string;
}

export function parseRoleArn(arn: string): RoleName | undefined {
  const parts = /^arn:(aws[\w-]*):iam::(\d{12}):role\/(?:.*\/)?([\w+=,.@-]{1,64})$/.exec(arn);
  const [partition, account, name] = parts?.slice(1) ?? [];
  return partition && account && name ? { partition, account, name } : undefined;
}

/** `AROA…`, the same for the same role on every run. */
function roleId(arn: string): string {
  return `AROA${base32(createHash("sha256").update(arn).digest().subarray(0, 17))}`;
}

/** The identity of one session of a role. */
export function assumedPrincipal(
  roleArn: string,
  sessionName: string,
  more: Pick<Principal, "transitiveTags" | "sourceIdentity">,
): Principal {
  const { partition, account, name } = parseRoleArn(roleArn) ?? {
    partition: "aws",
    account: "000000000000",
    name: "unknown",
  };
  return {
    kind: "assumed-role",
    arn: `arn:${partition}:sts::${account}:assumed-role/${name}/${sessionName}`,
    userId: `${roleId(roleArn)}:${sessionName}`,
    account,
    roleArn,
    ...more,
  };
}

/** The role of that ARN. Without a list of roles every well-formed ARN is a role of 12 h. */
export function findRole(
  roles: readonly StsRole[] | undefined,
  arn: string,
  callerArn: string,
  action: string,
): Judged<StsRole> {
  if (parseRoleArn(arn) === undefined) {
    return refused(400, "ValidationError", `${arn} is invalid`);
  }
  if (roles === undefined) return granted({ arn, maxSessionSec: ROLE_DURATION_SEC.max });
  const role = roles.find((candidate) => candidate.arn === arn);
  return role === undefined ? notAuthorised(callerArn, action, arn) : granted(role);
}

/** Whether the role's trust names one of these, which are the ARNs and account id of one caller. */
export function trusts(role: StsRole, caller: readonly (string | undefined)[]): boolean {
  const allowed = role.allowedPrincipals;
  return allowed === undefined || allowed.some((entry) => entry === "*" || caller.includes(entry));
}

/** Refuses a duration above the role's own maximum, or above the cap of role chaining. */
export function judgeRoleDuration(
  role: StsRole,
  durationSec: number,
  chained: boolean,
): Judged<number> {
  if (chained && durationSec > CHAINED_MAX_SEC) {
    const message =
      "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
    return refused(400, "ValidationError", message);
  }
  if (durationSec > (role.maxSessionSec ?? ROLE_DURATION_SEC.default)) {
    const message =
      "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    return refused(400, "ValidationError", message);
  }
  return granted(durationSec);
}

/** AccessDenied in the words of IAM. */
export function notAuthorised(principalArn: string, action: string, resource: string) {
  const message = `User: ${principalArn} is not authorized to perform: sts:${action} on resource: ${resource}`;
  return refused(403, "AccessDenied", message);
}
