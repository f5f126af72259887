/**
 * Issues credentials: expiry, the entry in the ledger, and the XML that all issuing actions share.
 * The knobs that change what is issued act here.
 */
import { type EpochMs, epochMs, toRfc3339 } from "../../protocol/time.ts";
import type { Ledger } from "../shared/ledger.ts";
import { granted, type Judged } from "../shared/refusal.ts";
import type { Keyring, Principal } from "./keyring.ts";
import type { StsAction, StsKnobs } from "./knobs.ts";
import { type QueryParameters, recordsOf } from "./parameters.ts";
import { assumedPrincipal, type StsRole } from "./roles.ts";
import { judgePolicies } from "./session-policy.ts";
import type { SessionTags } from "./session-tags.ts";
import type { IdentityProvider } from "./web-identity.ts";
import { element, wrap } from "./xml.ts";

/** One issued credential without its secret parts. Instants are of the emulator's own, skewed clock. */
export interface IssuedCredential {
  readonly accessKeyId: string;
  readonly action: StsAction;
  readonly principalArn: string;
  readonly roleArn?: string;
  readonly sessionName?: string;
  readonly policy?: string;
  readonly policyArns: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
  readonly sourceIdentity?: string;
  readonly requestedDurationSec: number;
  readonly issuedAt: EpochMs;
  readonly expiresAt: EpochMs;
}

export interface StsWorld {
  readonly keyring: Keyring;
  readonly ledger: Ledger<IssuedCredential>;
  readonly knobs: StsKnobs;
  readonly roles: readonly StsRole[] | undefined;
  readonly identityProviders: readonly IdentityProvider[];
  readonly packedPolicyLimit: number;
}

export interface RoleGrant {
  readonly roleArn: string;
  readonly tags: SessionTags;
  readonly sourceIdentity: string | undefined;
  readonly durationSec: number;
  readonly now: EpochMs;
}

/** Judges the session policies, then issues a credential for a session of a role. */
export function issueForRole(
  world: StsWorld,
  action: StsAction,
  parameters: QueryParameters,
  { roleArn, tags, sourceIdentity, durationSec, now }: RoleGrant,
): Judged<string> {
  const policy = parameters.get("Policy");
  const policyArns = recordsOf(parameters, "PolicyArns", ["arn"]).map(({ arn = "" }) => arn);
  const inline = policy === undefined ? {} : { policy };
  const packed = judgePolicies({ ...inline, policyArns, tags: tags.all }, world.packedPolicyLimit);
  if (!packed.ok) return packed;
  const sessionName = parameters.get("RoleSessionName") ?? "";
  const source = sourceIdentity === undefined ? {} : { sourceIdentity };
  const principal = assumedPrincipal(roleArn, sessionName, {
    transitiveTags: tags.transitive,
    ...source,
  });
  const credentials = issue(world, principal, durationSec, now, {
    action,
    roleArn,
    sessionName,
    ...inline,
    policyArns,
    tags: Object.fromEntries(tags.all),
    ...source,
  });
  const user = element("AssumedRoleId", principal.userId) + element("Arn", principal.arn);
  return granted(
    credentials +
      wrap("AssumedRoleUser", user) +
      element("PackedPolicySize", packed.value) +
      element("SourceIdentity", sourceIdentity),
  );
}

type IssueFacts = Omit<
  IssuedCredential,
  "accessKeyId" | "principalArn" | "requestedDurationSec" | "issuedAt" | "expiresAt"
>;

/** Issues a credential and writes it down. Expiry is in whole seconds, and is what will be enforced. */
export function issue(
  { knobs, keyring, ledger }: StsWorld,
  principal: Principal,
  requestedDurationSec: number,
  now: EpochMs,
  facts: IssueFacts,
): string {
  const lifetimeMs = knobs.expiryInPast
    ? -3_600_000
    : (knobs.lifetimeMs ?? requestedDurationSec * 1000);
  const expiresAt = epochMs(Math.floor((now + lifetimeMs) / 1000) * 1000);
  const key = keyring.issue(principal, expiresAt, knobs.sessionTokenBytes);
  ledger.issue({
    ...facts,
    accessKeyId: key.accessKeyId,
    principalArn: principal.arn,
    requestedDurationSec,
    issuedAt: now,
    expiresAt,
  });
  const fields =
    element("AccessKeyId", key.accessKeyId) +
    element("SecretAccessKey", key.secretAccessKey.reveal()) +
    element("SessionToken", key.sessionToken.reveal()) +
    element("Expiration", knobs.noExpiration ? undefined : toRfc3339(expiresAt));
  return wrap("Credentials", fields);
}
