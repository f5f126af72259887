/**
 * What to do with a service's token now: keep it, renew it in place or get a new one. Pure; times
 * are on the coordinator's clock. The job's schedule is not made here: the core asks when the token
 * that ends first is due, and this decides which tokens are.
 */
import type { DurationMs, EpochMs } from "../../../protocol/time.ts";

/** A re-issue comes at this part of the maximum lifetime (design, section 11). */
const REISSUE_RATIO = 0.75;
/** The core aims at 75 % of an extension, less up to 2 % of jitter: what is past this is due with it. */
const DUE_RATIO = 0.7;
/** `renewal.ratio` may be as low as 0.1: the token that ends first is due from here on. */
const FIRST_DUE_RATIO = 0.08;

export interface GrantTimes {
  /** When the current extension began and when it ends. */
  readonly renewedAt: EpochMs;
  readonly expiresAt: EpochMs;
  /** From the identifier; undefined for one that can't be read, which is then never renewed in place. */
  readonly issuedAt: EpochMs | undefined;
  /** No renewal goes beyond it. */
  readonly maxDate: EpochMs | undefined;
}

export interface PlanInput {
  /** Undefined: the service has no token yet. */
  readonly grant: GrantTimes | undefined;
  /** Whether it ends first of all that the provider holds. */
  readonly endsFirst: boolean;
  /** Whether we are its renewer. */
  readonly renewable: boolean;
  /** New credentials are wanted, whatever the old ones are good for. */
  readonly replace: boolean;
  readonly now: EpochMs;
}

export type Plan = "keep" | "renew" | "reissue";

/** Guarantee: a live token that is neither due nor unwanted is kept, so a failed service costs the others nothing. */
export function planFor({ grant, endsFirst, renewable, replace, now }: PlanInput): Plan {
  if (grant === undefined || replace || grant.expiresAt <= now) return "reissue";
  const extension = grant.expiresAt - grant.renewedAt;
  const elapsed = now - grant.renewedAt;
  const due =
    elapsed >= DUE_RATIO * extension || (endsFirst && elapsed >= FIRST_DUE_RATIO * extension);
  if (!due) return "keep";
  return renewable && mayRenew(grant, now) ? "renew" : "reissue";
}

function mayRenew({ issuedAt, maxDate, expiresAt }: GrantTimes, now: EpochMs): boolean {
  if (issuedAt === undefined || maxDate === undefined) return false;
  // Capped by the maximum already: another renewal would gain nothing.
  if (expiresAt >= maxDate) return false;
  return now < issuedAt + REISSUE_RATIO * (maxDate - issuedAt);
}

/** The server's clock less the coordinator's. `Date` has whole seconds, so small differences are noise. */
export function skewOf(serverDate: EpochMs, now: EpochMs): DurationMs {
  const skew = serverDate + 500 - now;
  return (Math.abs(skew) <= 1_500 ? 0 : skew) as DurationMs;
}
