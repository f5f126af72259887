/**
 * The four actions of STS: what each judges, and in which order. Issuing itself is issuing.ts.
 * Knows no HTTP and no faults.
 */
import type { EpochMs } from "../../protocol/time.ts";
import { granted, type Judged, refused } from "../shared/refusal.ts";
import { issue, issueForRole, type StsWorld } from "./issuing.ts";
import type { HeldKey, Principal } from "./keyring.ts";
import type { StsAction } from "./knobs.ts";
import {
  type ActionLimits,
  judgeParameters,
  ROLE_DURATION_SEC,
  SESSION_DURATION_SEC,
} from "./limits.ts";
import { listOf, type QueryParameters, recordsOf } from "./parameters.ts";
import { findRole, judgeRoleDuration, notAuthorised, trusts } from "./roles.ts";
import { judgeTags } from "./session-tags.ts";
import { judgeWebIdentity } from "./web-identity.ts";
import { element } from "./xml.ts";

/** One authenticated request. `key` is undefined only for web identity. */
export interface ActionRequest {
  readonly parameters: QueryParameters;
  readonly key: HeldKey | undefined;
  /** On the emulator's own, skewed clock. */
  readonly now: EpochMs;
}

type Action = (world: StsWorld, request: ActionRequest) => Promise<Judged<string>>;

const LIMITS = {
  AssumeRole: { required: ["RoleArn", "RoleSessionName"], durationSec: ROLE_DURATION_SEC },
  AssumeRoleWithWebIdentity: {
    required: ["RoleArn", "RoleSessionName", "WebIdentityToken"],
    durationSec: ROLE_DURATION_SEC,
  },
  GetSessionToken: { required: [], durationSec: SESSION_DURATION_SEC },
} as const satisfies Record<string, ActionLimits>;

/** Actions that carry no signature. */
export const UNSIGNED_ACTIONS: ReadonlySet<string> = new Set(["AssumeRoleWithWebIdentity"]);

/** How each action is done. The result is the XML inside `<…Result>`. */
export const ACTIONS: Readonly<Record<StsAction, Action>> = {
  AssumeRole: async (world, request) => assumeRole(world, request),
  AssumeRoleWithWebIdentity: assumeRoleWithWebIdentity,
  GetSessionToken: async (world, request) => getSessionToken(world, request),
  GetCallerIdentity: async (_world, { key }) => getCallerIdentity(key),
};

function getCallerIdentity(key: HeldKey | undefined): Judged<string> {
  if (key === undefined) return unsigned();
  const { arn, userId, account } = key.principal;
  return granted(element("Arn", arn) + element("UserId", userId) + element("Account", account));
}

function getSessionToken(world: StsWorld, { parameters, key, now }: ActionRequest): Judged<string> {
  if (key === undefined) return unsigned();
  const duration = judgeParameters(parameters, LIMITS.GetSessionToken);
  if (!duration.ok) return duration;
  if (key.principal.kind !== "user") {
    return refused(403, "AccessDenied", "Cannot call GetSessionToken with session credentials");
  }
  const principal: Principal = { ...key.principal, kind: "session" };
  const facts = { action: "GetSessionToken", policyArns: [], tags: {} } as const;
  return granted(issue(world, principal, duration.value, now, facts));
}

function assumeRole(world: StsWorld, { parameters, key, now }: ActionRequest): Judged<string> {
  if (key === undefined) return unsigned();
  const duration = judgeParameters(parameters, LIMITS.AssumeRole);
  if (!duration.ok) return duration;
  const caller = key.principal;
  const roleArn = parameters.get("RoleArn") ?? "";
  const role = findRole(world.roles, roleArn, caller.arn, "AssumeRole");
  if (!role.ok) return role;
  const { externalId } = role.value;
  const known = [caller.arn, caller.roleArn, caller.account, rootOf(caller)];
  if (
    !trusts(role.value, known) ||
    (externalId ?? parameters.get("ExternalId")) !== parameters.get("ExternalId")
  ) {
    return notAuthorised(caller.arn, "AssumeRole", roleArn);
  }
  const wanted = parameters.get("SourceIdentity");
  const held = caller.sourceIdentity;
  if (held !== undefined && wanted !== undefined && wanted !== held) {
    return notAuthorised(caller.arn, "SetSourceIdentity", roleArn);
  }
  const tags = judgeTags(
    recordsOf(parameters, "Tags", ["Key", "Value"]).map(({ Key = "", Value = "" }) => [Key, Value]),
    listOf(parameters, "TransitiveTagKeys"),
    caller.transitiveTags,
  );
  if (!tags.ok) return tags;
  const chained = caller.kind === "assumed-role";
  const allowed = judgeRoleDuration(role.value, duration.value, chained);
  if (!allowed.ok) return allowed;
  return issueForRole(world, "AssumeRole", parameters, {
    roleArn,
    tags: tags.value,
    sourceIdentity: held ?? wanted,
    durationSec: allowed.value,
    now,
  });
}

async function assumeRoleWithWebIdentity(
  world: StsWorld,
  { parameters, now }: ActionRequest,
): Promise<Judged<string>> {
  const action = "AssumeRoleWithWebIdentity";
  const duration = judgeParameters(parameters, LIMITS[action]);
  if (!duration.ok) return duration;
  const token = parameters.get("WebIdentityToken") ?? "";
  const identity = await judgeWebIdentity(token, world.identityProviders, now);
  if (!identity.ok) return identity;
  const { subject, audience, provider, sourceIdentity } = identity.value;
  const denied = refused(403, "AccessDenied", `Not authorized to perform sts:${action}`);
  const roleArn = parameters.get("RoleArn") ?? "";
  const role = findRole(world.roles, roleArn, provider, action);
  if (!role.ok) return role.refusal.code === "AccessDenied" ? denied : role;
  const account = roleArn.split(":")[4] ?? "";
  const partition = roleArn.split(":")[1] ?? "aws";
  const federated = `arn:${partition}:iam::${account}:oidc-provider/${provider}`;
  const { allowedSubjects } = role.value;
  if (!trusts(role.value, [federated])) return denied;
  if (allowedSubjects !== undefined && !allowedSubjects.includes(subject)) return denied;
  const tags = judgeTags(identity.value.tags, identity.value.transitiveTagKeys, new Map());
  if (!tags.ok) return tags;
  const allowed = judgeRoleDuration(role.value, duration.value, false);
  if (!allowed.ok) return allowed;
  const issued = issueForRole(world, action, parameters, {
    roleArn,
    tags: tags.value,
    sourceIdentity,
    durationSec: allowed.value,
    now,
  });
  if (!issued.ok) return issued;
  const more =
    element("SubjectFromWebIdentityToken", subject) +
    element("Audience", audience) +
    element("Provider", federated);
  return granted(issued.value + more);
}

const rootOf = ({ account }: Principal): string => `arn:aws:iam::${account}:root`;

const unsigned = (): Judged<never> =>
  refused(403, "MissingAuthenticationToken", "Request is missing Authentication Token");
