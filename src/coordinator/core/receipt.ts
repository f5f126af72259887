/**
 * Judges what an issuer gave and fixes, once, how long it lives on our clocks. What counts is the
 * expiry that the issuer returned, read against the issuer's own time.
 */
import type { Credential } from "../../protocol/credential.ts";
import { EvergrantError } from "../../protocol/errors.ts";
import { failure, type Outcome, success } from "../../protocol/outcome.ts";
import {
  between,
  type DurationMs,
  durationMs,
  type EpochMs,
  later,
  type MonoMs,
} from "../../protocol/time.ts";
import { jobTime, log, plus, rounded, type Turn, unwarn, warn } from "./core.ts";
import type { ObtainedFacts } from "./effects.ts";
import { floorApplies, hashUnit, JITTER_SHARE, renewAfter } from "./plan.ts";
import { type CoreSettings, type ProviderSettings, SKEW_WARNING } from "./settings.ts";

export interface Receipt {
  /** With generation 0: the writer assigns it. */
  readonly credential: Credential;
  readonly expires: MonoMs;
  readonly problem: EvergrantError | undefined;
}

/** The share of the lifetime by which this credential is renewed earlier; drawn once, then stored. */
export function jitterOf(
  settings: CoreSettings,
  credential: Credential,
  generation: number,
): DurationMs {
  const { tenant, job } = settings.id;
  const unit = hashUnit(tenant, job, credential.provider, generation);
  return durationMs(
    Math.floor(between(credential.issuedAt, credential.expiresAt) * JITTER_SHARE * unit),
  );
}

/** When it is to be renewed, on the coordinator's clock. */
export function renewAtOf(
  settings: CoreSettings,
  provider: ProviderSettings,
  credential: Credential,
  jitter: DurationMs,
): EpochMs {
  const lifetime = between(credential.issuedAt, credential.expiresAt);
  const skew = credential.issuerSkew;
  // Skew is taken off the safety margin: what is uncertain is renewed earlier.
  const floor = provider.minRemaining === 0 ? 0 : provider.minRemaining + Math.abs(skew);
  const after = renewAfter(lifetime, settings.ratio, durationMs(floor), jitter);
  return rounded(later(credential.issuedAt, durationMs(after - skew)));
}

/** Of HTTP's `Date` header. */
const DATE_RESOLUTION = durationMs(1000);

/**
 * @param askedAt when the call began, on the coordinator's clock
 * Fails with ISSUER_EXPIRY_MISSING, ISSUER_EXPIRY_PAST or ISSUER_ANSWER_UNUSABLE.
 */
export function receiptOf(
  turn: Turn,
  provider: ProviderSettings,
  askedAt: EpochMs,
  facts: ObtainedFacts,
  current: Credential | undefined,
): Outcome<Receipt> {
  const ours = jobTime(turn);
  const range = skewRange({ from: askedAt, to: ours }, facts.issuerTime);
  const skew = range.worst;
  const issuerTime = later(ours, skew);
  const issuedAt = rounded(facts.issuedAt ?? beginOf(facts, askedAt, range, issuerTime));
  const expiresAt =
    facts.expiresAt ??
    (provider.assumedLifetime === undefined
      ? undefined
      : later(issuedAt, provider.assumedLifetime));
  if (expiresAt === undefined) {
    return failure(
      new EvergrantError(
        "ISSUER_EXPIRY_MISSING",
        "the issuer gave no expiry, and the provider has no assumedLifetimeSec",
      ),
    );
  }
  noteSkew(turn, provider, range.sure);
  const left = between(issuerTime, expiresAt);
  if (left <= 0) {
    return failure(
      new EvergrantError("ISSUER_EXPIRY_PAST", "the issuer gave an expiry that is past", {
        details: { expiresAtMs: expiresAt, issuerTimeMs: issuerTime, skewMs: skew },
      }),
    );
  }
  if (current !== undefined && unchanged(current, facts, expiresAt)) {
    return failure(
      new EvergrantError("ISSUER_ANSWER_UNUSABLE", "the issuer gave the same credential again"),
    );
  }
  const lifetime = between(issuedAt, expiresAt);
  const name = provider.name;
  noteBudget(turn, provider, lifetime);
  if (provider.minRemaining > 0 && !floorApplies(lifetime, provider.minRemaining)) {
    warn(
      turn,
      `floor:${name}`,
      `${name}: a lifetime of ${Math.round(lifetime / 1000)} s is too short to keep ${Math.round(provider.minRemaining / 1000)} s in hand: client SDKs will ask for every request near the end of each cycle`,
    );
  } else unwarn(turn, `floor:${name}`);
  return success({
    credential: {
      provider: name,
      kind: provider.credentialKind,
      generation: 0,
      issuedAt,
      expiresAt: rounded(expiresAt),
      issuerSkew: skew,
      attributes: facts.attributes,
      material: facts.material,
    },
    expires: plus(turn.now.mono, left),
    problem: facts.problem,
  });
}

/** What is left after the planned renewal must cover a takeover and one call, or a crash is a gap. */
function noteBudget(turn: Turn, provider: ProviderSettings, lifetime: DurationMs): void {
  const { ratio, timing } = turn.core.settings;
  const takeover = timing.leaseTtl + timing.leaseMargin + provider.callTimeout;
  const budget = (1 - ratio) * lifetime;
  const key = `budget:${provider.name}`;
  if (budget < takeover) {
    warn(
      turn,
      key,
      `${provider.name}: ${Math.round(budget / 1000)} s remain after a planned renewal, less than the ${Math.round(takeover / 1000)} s of a takeover and one call: a coordinator that dies then may leave a gap`,
    );
  } else unwarn(turn, key);
}

function unchanged(current: Credential, facts: ObtainedFacts, expiresAt: EpochMs): boolean {
  return (
    current.expiresAt === rounded(expiresAt) &&
    JSON.stringify(current.material.reveal()) === JSON.stringify(facts.material.reveal())
  );
}

/**
 * The issuer's clock less ours: at least `sure` away from none, and at most `worst`. It stamped its
 * answer at some moment of the call, and a `Date` header is rounded down to the second. After a quick
 * call that allows for no skew there is none to speak of; else the issuer is taken to be as far ahead
 * as it can be, so that a life is never thought longer than it is, however long the answer or this
 * process was held up (I2).
 */
function skewRange(
  call: { readonly from: EpochMs; readonly to: EpochMs },
  issuerTime: EpochMs | undefined,
): { readonly sure: DurationMs; readonly worst: DurationMs } {
  if (issuerTime === undefined) return { sure: durationMs(0), worst: durationMs(0) };
  const least = between(call.to, issuerTime);
  const most = between(call.from, issuerTime) + DATE_RESOLUTION;
  const worst = durationMs(Math.ceil(most));
  if (least > 0) return { sure: durationMs(Math.ceil(least)), worst };
  if (most <= 0) return { sure: worst, worst };
  const quick = between(call.from, call.to) <= DATE_RESOLUTION;
  return { sure: durationMs(0), worst: quick ? durationMs(0) : worst };
}

/**
 * The life began when the answer was stamped, not when it was heard of: 75 % of it are counted from
 * there. Without a stamp it may have begun as early as the call did.
 */
function beginOf(
  { issuerTime: stamp }: ObtainedFacts,
  askedAt: EpochMs,
  { worst }: { readonly worst: DurationMs },
  issuerTime: EpochMs,
): EpochMs {
  if (stamp === undefined) return askedAt;
  return worst === 0 ? issuerTime : stamp;
}

function noteSkew(turn: Turn, provider: ProviderSettings, skew: DurationMs): void {
  const key = `skew:${provider.name}`;
  if (Math.abs(skew) > SKEW_WARNING) {
    warn(
      turn,
      key,
      `${provider.name}: the issuer's clock is ${Math.round(skew / 1000)} s from this machine's`,
    );
  } else {
    unwarn(turn, key);
    log(turn, "debug", "clock skew measured", { provider: provider.name, skewMs: skew });
  }
}
