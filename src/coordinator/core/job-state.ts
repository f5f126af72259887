/**
 * The durable truth of a job: everything else (bundle, schedule, status) is derived from it. It is
 * immutable; the one writer (writer.ts) commits each new version by compare-and-set, sealed.
 */
import type { Tombstone } from "../../protocol/bundle.ts";
import type { Reason } from "../../protocol/control.ts";
import type { Credential } from "../../protocol/credential.ts";
import type { DurationMs, EpochMs } from "../../protocol/time.ts";

/** Written before the issuer is called, so that a successor knows that a call may be under way. */
export interface Intent {
  readonly nonce: string;
  readonly reason: Reason;
  /** How long the call may take: a successor waits this out on its own clock. */
  readonly duration: DurationMs;
}

/** Counted since the job began. calls = obtained + failures + recoveries, once none is under way (I3). */
export interface CallCounts {
  readonly calls: number;
  readonly obtained: number;
  readonly failures: number;
  /** Calls whose outcome died with their coordinator. */
  readonly recoveries: number;
  readonly requests: number;
}

export interface ProviderRecord {
  /** Digest of the configuration that the credential was obtained under. */
  readonly configDigest: string;
  readonly credential: Credential | undefined;
  /** On the coordinator's clock; fixed with the stored jitter when the credential was obtained. */
  readonly renewAt: EpochMs | undefined;
  readonly jitter: DurationMs;
  /** Grows with each planned attempt; with provider and generation it names a queue job. */
  readonly attempt: number;
  readonly intent: Intent | undefined;
  readonly counts: CallCounts;
}

export interface JobState {
  readonly term: number;
  readonly generation: number;
  /** Who wrote this version: tells an own write, whose answer was lost, from a foreign one. */
  readonly writeNonce: string;
  /** The first seals; all are given to agents. */
  readonly groupKids: readonly string[];
  readonly providers: Readonly<Record<string, ProviderRecord>>;
  readonly tombstones: readonly Tombstone[];
  /** Registrations by join token id. */
  readonly tokenUses: Readonly<Record<string, number>>;
}

export const NO_CALLS: CallCounts = {
  calls: 0,
  obtained: 0,
  failures: 0,
  recoveries: 0,
  requests: 0,
};
