/**
 * A service's token as the provider keeps it between calls, and its place in the credential: the
 * material is the only memory, so that a successor on another machine goes on where this one ended.
 * Pure. Times here are on the coordinator's clock; in the material on that of the credential.
 */
import type { HadoopTokens } from "../../../protocol/credential.ts";
import { decodeIdentifier } from "../../../protocol/hadoop/identifier.ts";
import {
  type HadoopToken,
  sameGrant,
  tokenFromUrlString,
  tokenToUrlString,
} from "../../../protocol/hadoop/token.ts";
import { type DurationMs, type EpochMs, epochMs } from "../../../protocol/time.ts";
import type { LabelledToken } from "./labels.ts";
import type { GrantTimes } from "./plan.ts";

/** One token of one service, under all of its labels. */
export interface Grant {
  readonly source: string;
  /** Any of the labelled forms: the issuer looks at identifier and password only. */
  readonly token: HadoopToken;
  readonly labelled: readonly LabelledToken[];
  readonly renewedAt: EpochMs;
  readonly expiresAt: EpochMs;
}

/** A token that has a successor and may still be in use. It ends by itself, since nobody renews it. */
export interface ReplacedGrant {
  readonly source: string;
  readonly token: HadoopToken;
  readonly replacedAt: EpochMs;
  readonly expiresAt: EpochMs;
}

export interface Holdings {
  readonly grants: ReadonlyMap<string, Grant>;
  readonly replaced: readonly ReplacedGrant[];
}

export const NO_HOLDINGS: Holdings = { grants: new Map(), replaced: [] };

/** Reads the material of the current credential. @param skew the issuer's clock less ours, as the credential has it. */
export function holdingsOf(material: HadoopTokens, skew: DurationMs, expiresAt: EpochMs): Holdings {
  const ours = (instant: number): EpochMs => epochMs(instant - skew);
  const grants = new Map<string, Grant>();
  for (const entry of material.tokens) {
    if (entry.source === undefined) continue;
    const labelled = { alias: entry.alias, token: tokenFromUrlString(entry.urlString) };
    const known = grants.get(entry.source);
    grants.set(entry.source, {
      source: entry.source,
      token: labelled.token,
      labelled: [...(known?.labelled ?? []), labelled],
      renewedAt: ours(entry.renewedAtMs ?? 0),
      expiresAt: ours(entry.expiresAtMs ?? expiresAt),
    });
  }
  const replaced = (material.replaced ?? []).map((entry) => ({
    source: entry.source,
    token: tokenFromUrlString(entry.urlString),
    replacedAt: ours(entry.replacedAtMs),
    expiresAt: ours(entry.expiresAtMs),
  }));
  return { grants, replaced };
}

/** The material for these holdings. @param skew as for `holdingsOf`. */
export function materialOf({ grants, replaced }: Holdings, skew: DurationMs): HadoopTokens {
  const theirs = (instant: EpochMs): number => Math.max(0, Math.round(instant + skew));
  return {
    tokens: [...grants.values()].flatMap((grant) =>
      grant.labelled.map(({ alias, token }) => ({
        alias,
        urlString: tokenToUrlString(token),
        source: grant.source,
        renewedAtMs: theirs(grant.renewedAt),
        expiresAtMs: theirs(grant.expiresAt),
      })),
    ),
    ...(replaced.length === 0
      ? {}
      : {
          replaced: replaced.map((entry) => ({
            urlString: tokenToUrlString(entry.token),
            source: entry.source,
            replacedAtMs: theirs(entry.replacedAt),
            expiresAtMs: theirs(entry.expiresAt),
          })),
        }),
  };
}

/** What planning needs to know of a grant. @param skew its issuer's clock less ours. */
export function timesOf(grant: Grant, skew: DurationMs): GrantTimes {
  const { renewedAt, expiresAt } = grant;
  try {
    const { issueDate, maxDate } = decodeIdentifier(grant.token.identifier);
    return {
      renewedAt,
      expiresAt,
      issuedAt: epochMs(Number(issueDate) - skew),
      maxDate: epochMs(Number(maxDate) - skew),
    };
  } catch {
    return { renewedAt, expiresAt, issuedAt: undefined, maxDate: undefined };
  }
}

/** Every token that is alive at `now`, each once however many labels it bears. */
export function livingTokens(
  holdings: Holdings,
  now: EpochMs,
): readonly { readonly source: string; readonly token: HadoopToken }[] {
  const living: { source: string; token: HadoopToken }[] = [];
  for (const { source, token, expiresAt } of [...holdings.grants.values(), ...holdings.replaced]) {
    if (expiresAt > now && !living.some((other) => sameGrant(other.token, token))) {
      living.push({ source, token });
    }
  }
  return living;
}
