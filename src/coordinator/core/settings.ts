/** What the core is told once, at its start. All intervals are configurable so that tests can scale them together. */
import type { JobId } from "../../protocol/names.ts";
import { type DurationMs, durationMs, seconds } from "../../protocol/time.ts";

export interface ProviderSettings {
  readonly name: string;
  readonly kind: string;
  readonly credentialKind: string;
  /** Changes when anything changes that the credential was obtained under. */
  readonly configDigest: string;
  readonly minRemaining: DurationMs;
  /** The longest that one attempt may take, 1 s to 5 min. */
  readonly callTimeout: DurationMs;
  /** For issuers that give no expiry. */
  readonly assumedLifetime: DurationMs | undefined;
  /** At the end of the job there is something to cancel. */
  readonly cancels: boolean;
}

export interface Timing {
  readonly leaseTtl: DurationMs;
  /** The holder stops acting this long before its lease could be taken, a standby waits as long beyond it. */
  readonly leaseMargin: DurationMs;
  readonly leaseRenew: DurationMs;
  /** How often a standby looks at the lease. */
  readonly leaseWatch: DurationMs;
  readonly storeRetry: DurationMs;
  readonly beat: DurationMs;
  /** An agent that is unheard for this long is lost. */
  readonly lost: DurationMs;
  readonly reconcile: DurationMs;
  /** The longest grace that the queue gets before the local watchdog acts. */
  readonly watchdogGrace: DurationMs;
  readonly retryFirst: DurationMs;
  readonly retryMax: DurationMs;
  readonly cooldownFirst: DurationMs;
  readonly cooldownMax: DurationMs;
  readonly resendFirst: DurationMs;
  readonly resendMax: DurationMs;
}

/** The design's numbers. */
export const DEFAULT_TIMING: Timing = {
  leaseTtl: seconds(30),
  leaseMargin: seconds(5),
  leaseRenew: seconds(10),
  leaseWatch: seconds(2),
  storeRetry: seconds(1),
  beat: seconds(15),
  lost: seconds(45),
  reconcile: seconds(15),
  watchdogGrace: seconds(15),
  retryFirst: seconds(5),
  retryMax: seconds(300),
  cooldownFirst: seconds(10),
  cooldownMax: seconds(300),
  resendFirst: seconds(1),
  resendMax: seconds(32),
};

/** I11: never two calls within this, for each provider. Not configurable: it protects the issuer. */
export const MIN_CALL_GAP = seconds(1);
/** I11: at most this many calls in any window; more only for lifetimes of seconds (plan.ts, `mostCalls`). */
export const MAX_CALLS = 40;
export const CALL_WINDOW = seconds(600);

/** The floor of every retry, after all caps. */
export const RETRY_FLOOR = durationMs(1000);

/** Skew between issuer and coordinator above which operators are warned. */
export const SKEW_WARNING = seconds(30);

export interface CoreSettings {
  readonly id: JobId;
  /** Random, new for each process. */
  readonly holder: string;
  /** Names the key set that seals and signs: ids of its group keys begin with it and a full stop. */
  readonly groupSet: string;
  /** The id of a new group key of that set, used if the job has none of it yet. */
  readonly newGroupKid: string;
  /** A standby ends when it finds the job ended; any other coordinator starts the job anew. */
  readonly standby: boolean;
  /** 0.1 to 0.95. */
  readonly ratio: number;
  readonly timing: Timing;
  readonly providers: readonly ProviderSettings[];
}
