/**
 * One provider's run: where its renewal stands (renewal.ts says how it moves), and its record in the
 * state. Nothing here decides.
 */
import type { Reason } from "../../protocol/control.ts";
import type { EvergrantError } from "../../protocol/errors.ts";
import {
  between,
  type DurationMs,
  durationMs,
  type EpochMs,
  type MonoMs,
} from "../../protocol/time.ts";
import { ALWAYS, type Turn } from "./core.ts";
import type { Op } from "./effects.ts";
import { type JobState, NO_CALLS, type ProviderRecord } from "./job-state.ts";
import type { Receipt } from "./receipt.ts";
import type { ProviderSettings } from "./settings.ts";

export type Phase =
  | { readonly kind: "idle" }
  | {
      readonly kind: "intending";
      readonly seq: number;
      readonly nonce: string;
      readonly reason: Reason;
    }
  | {
      readonly kind: "calling";
      readonly op: Op;
      readonly nonce: string;
      readonly reason: Reason;
      /** On the coordinator's clock. */
      readonly askedAt: EpochMs;
    }
  | {
      readonly kind: "obtained";
      readonly nonce: string;
      readonly reason: Reason;
      readonly receipt: Receipt;
    }
  | {
      readonly kind: "recording";
      readonly seq: number;
      readonly nonce: string;
      readonly reason: Reason;
      readonly receipt: Receipt;
    }
  | { readonly kind: "waiting-out"; readonly until: MonoMs };

export interface NextAttempt {
  readonly at: MonoMs;
  readonly reason: Reason;
  /** Held by the queue as well; else it is for at once. */
  readonly queued: boolean;
  /** The queue has raised it. */
  fired: boolean;
}

export interface ProviderRun {
  readonly settings: ProviderSettings;
  phase: Phase;
  next: NextAttempt | undefined;
  /** When the held credential ends. */
  expires: MonoMs | undefined;
  lifetime: DurationMs | undefined;
  /** Of all that were held: what a provider gives as a rule, for the bound on calls. */
  longestLifetime: DurationMs | undefined;
  /** Consecutive, counted anew from the expiry on. */
  failures: number;
  countedFromExpiry: boolean;
  lastError: EvergrantError | undefined;
  /** When the last calls began, as many as I11 counts. */
  calls: MonoMs[];
  /** No call before this, whatever is due: a predecessor may have called a moment ago. */
  notBefore: MonoMs;
  /** Calls since the last credential was obtained: what a rotation cost. */
  callsForNext: number;
  /** Somebody wants a new one now. */
  demand: { readonly reason: "forced" | "demand" } | undefined;
  cooldown: { readonly length: DurationMs; readonly until: MonoMs; readonly byAgents: boolean };
  /** Agents whose demand for this generation was counted. */
  demandedBy: { generation: number; readonly agents: Set<string> };
  /** The issuer's clock less ours, as last measured. */
  skew: DurationMs;
}

export const newRun = (settings: ProviderSettings, cooldown: DurationMs): ProviderRun => ({
  settings,
  phase: { kind: "idle" },
  next: undefined,
  expires: undefined,
  lifetime: undefined,
  longestLifetime: undefined,
  failures: 0,
  countedFromExpiry: false,
  lastError: undefined,
  calls: [],
  notBefore: ALWAYS,
  callsForNext: 0,
  demand: undefined,
  cooldown: { length: cooldown, until: ALWAYS, byAgents: false },
  demandedBy: { generation: 0, agents: new Set() },
  skew: durationMs(0),
});

export const recordOf = (state: JobState | undefined, name: string): ProviderRecord | undefined =>
  state?.providers[name];

export function withRecord(
  state: JobState,
  run: ProviderRun,
  change: (record: ProviderRecord) => ProviderRecord,
): JobState {
  const { name, configDigest } = run.settings;
  const before: ProviderRecord = state.providers[name] ?? {
    configDigest,
    credential: undefined,
    renewAt: undefined,
    jitter: durationMs(0),
    attempt: 0,
    intent: undefined,
    counts: NO_CALLS,
  };
  return { ...state, providers: { ...state.providers, [name]: change(before) } };
}

/** Remaining life of what is held; undefined when there is none or it has expired. */
export function remaining(turn: Turn, run: ProviderRun): DurationMs | undefined {
  if (run.expires === undefined || run.expires <= turn.now.mono) return undefined;
  return between(turn.now.mono, run.expires);
}

/** The life of what is held now. */
export function noteLifetime(run: ProviderRun, lifetime: DurationMs): void {
  run.lifetime = lifetime;
  run.longestLifetime = durationMs(Math.max(run.longestLifetime ?? 0, lifetime));
}
