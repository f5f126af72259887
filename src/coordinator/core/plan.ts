/**
 * The arithmetic of renewal (design, section 4). Pure numbers in, pure numbers out: no state, no
 * clock. Jitter is a hash, not a die, so that a restart finds the same plan.
 */
import type { ErrorClass } from "../../protocol/errors.ts";
import { type DurationMs, durationMs, type MonoMs, monoMs } from "../../protocol/time.ts";
import { CALL_WINDOW, MAX_CALLS, MIN_CALL_GAP, RETRY_FLOOR } from "./settings.ts";

/** The share of a lifetime that jitter may take off. */
export const JITTER_SHARE = 0.02;

/** Uniform in [0, 1), the same for the same words on every machine (FNV-1a, 32 bits, finalised as in murmur3). */
export function hashUnit(...words: readonly (string | number)[]): number {
  let hash = 0x811c9dc5;
  for (const char of words.join("\0")) {
    hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/**
 * How long after its issue a credential is renewed.
 * Guarantee: 0 <= result <= ratio * lifetime, whatever the arguments.
 * @param lifetime as the issuer returned it.
 * @param minRemaining ignored where `lifetime < 2 * minRemaining`.
 * @param jitter in [0, JITTER_SHARE * lifetime]; only ever brings the renewal forward.
 */
export function renewAfter(
  lifetime: DurationMs,
  ratio: number,
  minRemaining: DurationMs,
  jitter: DurationMs,
): DurationMs {
  const byRatio = ratio * lifetime;
  const aim = floorApplies(lifetime, minRemaining)
    ? Math.min(byRatio, lifetime - minRemaining)
    : byRatio;
  return durationMs(Math.max(0, Math.floor(aim - jitter)));
}

/** Whether `minRemaining` can be kept at all with this lifetime. */
export const floorApplies = (lifetime: DurationMs, minRemaining: DurationMs): boolean =>
  lifetime >= 2 * minRemaining;

export interface RetryFacts {
  /** Consecutive failures, this one included, counted anew from the expiry on: 1 or more. */
  readonly failures: number;
  readonly errorClass: ErrorClass;
  /** Of the credential that is still served; undefined: none, or expired. */
  readonly remaining: DurationMs | undefined;
  /** Nothing was ever obtained: even a denial may be a permission that is only just spreading. */
  readonly never: boolean;
  /** Uniform in [0, 1). */
  readonly unit: number;
  readonly first: DurationMs;
  readonly max: DurationMs;
}

/**
 * How long to wait before the next attempt.
 * Guarantee: RETRY_FLOOR <= result <= max(RETRY_FLOOR, 1.5 * max), and never more than a third of
 * the remaining life unless that lies below RETRY_FLOOR.
 */
export function retryDelay(facts: RetryFacts): DurationMs {
  const ladder = Math.min(facts.first * 2 ** (facts.failures - 1), facts.max);
  const slow =
    facts.errorClass === "denied" ||
    facts.errorClass === "invalid" ||
    // The identity was made anew once and is still rejected: from here on it is a denial.
    (facts.errorClass === "identity" && facts.failures > 1);
  let wait: number;
  if (facts.errorClass === "identity" && facts.failures === 1) wait = RETRY_FLOOR;
  else if (slow && !facts.never) wait = facts.max;
  else wait = ladder * (0.5 + facts.unit);
  if (facts.remaining !== undefined) wait = Math.min(wait, facts.remaining / 3);
  return durationMs(Math.max(RETRY_FLOOR, Math.floor(wait)));
}

/** What ends sooner was nearly over when it was given, or a clock is wrong: it is not renewed at that pace. */
const SHORTEST_CYCLE = durationMs(3000);

/**
 * I11: how many calls a window may see. MAX_CALLS, but for what lives so shortly (in tests) that the
 * plan alone would come near it: there twice as many as are planned, or health would run into the bound.
 * @param lifetime the longest that this provider has given; undefined before the first. Not the last:
 * an issuer that begins to hand out what is nearly over must not be asked at that pace.
 */
export function mostCalls(lifetime: DurationMs | undefined, ratio: number): number {
  if (lifetime === undefined || ratio * lifetime < SHORTEST_CYCLE) return MAX_CALLS;
  return Math.max(MAX_CALLS, Math.ceil((2 * CALL_WINDOW) / (ratio * lifetime)));
}

/**
 * I11: the earliest moment for another call, given when the last ones began (oldest first).
 * The caller keeps at least the last `most`.
 */
export function earliestCall(calls: readonly MonoMs[], most: number): MonoMs {
  const last = calls.at(-1);
  if (last === undefined) return monoMs(Number.NEGATIVE_INFINITY);
  const oldestOfFull = calls.length >= most ? calls.at(-most) : undefined;
  const byGap = last + MIN_CALL_GAP;
  return monoMs(oldestOfFull === undefined ? byGap : Math.max(byGap, oldestOfFull + CALL_WINDOW));
}

/**
 * How long the queue may be late before the local watchdog renews: a quarter of what is left after
 * the planned moment, at most `longest`, at least half a second.
 */
export function watchdogGrace(leftAfterPlan: DurationMs, longest: DurationMs): DurationMs {
  return durationMs(Math.max(500, Math.min(longest, leftAfterPlan / 4)));
}
