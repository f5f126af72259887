/**
 * What the provider holds after every service has had its turn. Pure. One service that fails keeps
 * what it has to its end and leaves the others alone (I6).
 */
import { EvergrantError } from "../../../protocol/errors.ts";
import { sameGrant } from "../../../protocol/hadoop/token.ts";
import type { EpochMs } from "../../../protocol/time.ts";
import type { Grant, Holdings, ReplacedGrant } from "./grants.ts";

/** How one service's turn ended. */
export type Outcome =
  | { readonly source: string; readonly grant: Grant; readonly kept?: true }
  | { readonly source: string; readonly problem: EvergrantError };

export interface Assembled {
  readonly holdings: Holdings;
  /** Of the services that do not fail, the token that ends first: it sets the pace. Undefined: all fail. */
  readonly earliest: Grant | undefined;
  /** Whether anything was renewed or replaced. */
  readonly changed: boolean;
  /** The first failure. */
  readonly problem: EvergrantError | undefined;
}

/** @param outcomes one for each configured service, in the order of the configuration. */
export function assemble(held: Holdings, outcomes: readonly Outcome[], now: EpochMs): Assembled {
  const grants = new Map<string, Grant>();
  const takenBy = new Map<string, string>();
  const replaced: ReplacedGrant[] = held.replaced.filter(({ expiresAt }) => expiresAt > now);
  let earliest: Grant | undefined;
  let problem: EvergrantError | undefined;
  let changed = false;

  for (const outcome of outcomes) {
    const former = held.grants.get(outcome.source);
    if ("problem" in outcome) {
      problem ??= outcome.problem;
      // To its own end: the receivers remove it then, whatever the others do.
      if (former !== undefined && former.expiresAt > now) {
        grants.set(outcome.source, former);
        for (const { alias } of former.labelled) takenBy.set(alias, outcome.source);
      } else if (former !== undefined) changed = true;
      continue;
    }
    const { source, grant } = outcome;
    const clash = grant.labelled.find(({ alias }) => takenBy.has(alias));
    if (clash !== undefined) {
      problem ??= new EvergrantError(
        "ISSUER_REQUEST_INVALID",
        `services ${takenBy.get(clash.alias)} and ${source} both go by the alias ${clash.alias}: give one of them its own service or entries`,
      );
      replaced.push(...superseded(grant, undefined, now)); // it exists, so it is cancelled at the end
      continue;
    }
    for (const { alias } of grant.labelled) takenBy.set(alias, source);
    grants.set(source, grant);
    if (outcome.kept !== true) changed = true;
    if (former !== undefined) replaced.push(...superseded(former, grant, now));
    if (earliest === undefined || grant.expiresAt < earliest.expiresAt) earliest = grant;
  }
  for (const [source, former] of held.grants) {
    if (outcomes.some((outcome) => outcome.source === source)) continue;
    changed = true; // the service has left the configuration
    replaced.push(...superseded(former, undefined, now));
  }
  return { holdings: { grants, replaced }, earliest, changed, problem };
}

function superseded(former: Grant, by: Grant | undefined, now: EpochMs): readonly ReplacedGrant[] {
  if (former.expiresAt <= now || (by !== undefined && sameGrant(former.token, by.token))) return [];
  const { source, token, expiresAt } = former;
  return [{ source, token, replacedAt: now, expiresAt }];
}
