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
/** `renewal.ratio` may be as low as 0.1: where nothing is due by the rule above, the first to end is from here on. */
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
  /** Whether we are its renewer. */
  readonly renewable: boolean;
}

export type Plan = "keep" | "renew" | "reissue";

/**
 * One plan for each input, in their order.
 * Guarantee: a live token that is neither due nor unwanted is kept, so that the retries of a failed
 * service cost the others nothing.
 * @param replace new credentials are wanted, whatever the old ones are good for.
 */
export function planAll(inputs: readonly PlanInput[], replace: boolean, now: EpochMs): Plan[] {
  const due = inputs.map(({ grant }) => replace || isDue(grant, DUE_RATIO, now));
  if (!due.includes(true)) {
    const firstEnd = Math.min(...inputs.map(({ grant }) => grant?.expiresAt ?? 0));
    inputs.forEach(({ grant }, at) => {
      due[at] = grant?.expiresAt === firstEnd && isDue(grant, FIRST_DUE_RATIO, now);
    });
  }
  return inputs.map(({ grant, renewable }, at) => {
    if (due[at] !== true) return "keep";
    return renewable && !replace && mayRenew(grant, now) ? "renew" : "reissue";
  });
}

function isDue(grant: GrantTimes | undefined, ratio: number, now: EpochMs): boolean {
  if (grant === undefined || grant.expiresAt <= now) return true;
  return now - grant.renewedAt >= ratio * (grant.expiresAt - grant.renewedAt);
}

function mayRenew(grant: GrantTimes | undefined, now: EpochMs): boolean {
  if (grant?.issuedAt === undefined || grant.maxDate === undefined) return false;
  const { issuedAt, maxDate, renewedAt, expiresAt } = grant;
  if (expiresAt <= now) return false;
  // An extension that the maximum would cut short gains little: a new token comes anyway.
  const next = now + (expiresAt - renewedAt);
  return next <= maxDate && now < issuedAt + REISSUE_RATIO * (maxDate - issuedAt);
}

/** The server's clock less the coordinator's. `Date` has whole seconds, so small differences are noise. */
export function skewOf(serverDate: EpochMs, now: EpochMs): DurationMs {
  const skew = serverDate + 500 - now;
  return (Math.abs(skew) <= 1_500 ? 0 : skew) as DurationMs;
}
