/**
 * The lease as every part of the core sees it: whether this coordinator leads, for how long it may act,
 * and which terms it has heard of. What changes that is leadership.ts.
 */
import type { DurationMs, MonoMs } from "../../protocol/time.ts";
import { ALWAYS, type Core, plus, type Turn } from "./core.ts";
import type { Op, StoreReading } from "./effects.ts";
import type { LeaseRecord } from "./lease-record.ts";

/** A term is the second in which it was taken, times this, and a number of its holder's own. */
export const TERMS_PER_SEC = 1024;

export interface HeldLease {
  revision: number;
  record: LeaseRecord;
  readonly incarnation: string;
  /** When the last successful write began: the lease lives from there. */
  since: MonoMs;
}

export interface Leadership {
  role: "seeking" | "waiting" | "taking" | "loading" | "leading" | "over";
  held: HeldLease | undefined;
  /** The current or last own term; 0 before the first. */
  term: number;
  /** The highest that anybody has shown. */
  knownTerm: number;
  leadingSince: MonoMs | undefined;
  /** There was a state before: live agents may exist that have not reported yet. */
  succeeded: boolean;
  read: Op | undefined;
  write: { readonly op: Op; readonly record: LeaseRecord; readonly since: MonoMs } | undefined;
  /** No I/O before this. */
  notBefore: MonoMs;
  /** What was last seen of another holder, and since when it stands still. */
  seen: { readonly reading: StoreReading<LeaseRecord>; readonly since: MonoMs } | undefined;
  /** The expected revision of the lease for the next write; undefined: that nothing is there. */
  expected: number | undefined;
  /** A write of the held lease failed: read before writing again. */
  verify: boolean;
  /** The first look at the lease has been had. */
  looked: boolean;
}

export const newLeadership = (): Leadership => ({
  role: "seeking",
  held: undefined,
  term: 0,
  knownTerm: 0,
  leadingSince: undefined,
  succeeded: false,
  read: undefined,
  write: undefined,
  notBefore: ALWAYS,
  seen: undefined,
  expected: undefined,
  verify: false,
  looked: false,
});

export const isLeading = (core: Core): boolean => core.leadership.role === "leading";

/** When the holder must have stopped acting. */
export function leaseDeadline(core: Core): MonoMs {
  const { held } = core.leadership;
  const { leaseTtl, leaseMargin } = core.settings.timing;
  return held === undefined ? ALWAYS : plus(held.since, (leaseTtl - leaseMargin) as DurationMs);
}

/** Whether the lease lives for another `span`: asked before the issuer is called. */
export function leaseCovers({ core, now }: Turn, span: DurationMs): boolean {
  return plus(now.mono, span) < leaseDeadline(core);
}

/** Somebody has shown a term. One above the own means that stores were lost: take a higher one. */
export function noteTerm(turn: Turn, term: number): void {
  const { leadership } = turn.core;
  if (term > leadership.knownTerm) leadership.knownTerm = term;
}
