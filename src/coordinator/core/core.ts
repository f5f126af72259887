/**
 * The state of one coordinator. It is owned by `step` (step.ts), which updates it in place: with ten
 * thousand agents a copy for each beat would be the largest cost of all. Deterministic all the same:
 * the same events at the same readings of the clock give the same effects.
 *
 * The machine is level-triggered. An event only notes a fact; then `advance` does everything that is
 * due by now, again and again until nothing is. A lost or doubled trigger can so delay an action
 * but never lose it or do it twice.
 */
import type { AuditEvent } from "../../protocol/audit.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import type { Notice } from "../../protocol/notice.ts";
import {
  between,
  type DurationMs,
  type EpochMs,
  epochMs,
  later,
  type MonoMs,
  monoMs,
  type Now,
} from "../../protocol/time.ts";
import type { Effect, LogLevel, Op } from "./effects.ts";
import type { Ending } from "./ending.ts";
import type { Leadership } from "./lease.ts";
import type { ProviderRun } from "./provider-run.ts";
import type { Publisher } from "./publisher.ts";
import type { Resending } from "./resending.ts";
import type { Roster } from "./roster.ts";
import type { Rotations } from "./rotations.ts";
import type { Schedule } from "./schedule.ts";
import type { CoreSettings } from "./settings.ts";
import type { Writer } from "./writer.ts";

export const FAR: MonoMs = monoMs(Number.POSITIVE_INFINITY);
export const ALWAYS: MonoMs = monoMs(Number.NEGATIVE_INFINITY);

export interface Core {
  readonly settings: CoreSettings;
  /** Where the coordinator's clock is anchored: it runs on the monotonic clock and never steps. */
  anchor: Now | undefined;
  lastOp: Op;
  /** Signed things of a term are numbered. */
  lastSequence: number;
  readonly leadership: Leadership;
  readonly writer: Writer;
  readonly publisher: Publisher;
  readonly schedule: Schedule;
  readonly providers: Map<string, ProviderRun>;
  readonly roster: Roster;
  readonly resending: Resending;
  readonly rotations: Rotations;
  readonly ending: Ending;
  readonly refused: Map<ErrorCode, number>;
  /** Shown by `status`; keyed, so that each is said once and can be taken back. */
  readonly warnings: Map<string, string>;
  /** Of commands that have not expired: a recorded one can't be played again. */
  readonly nonces: Map<string, MonoMs>;
  connected: boolean;
}

/** What one step works with: the core, the reading of the clock, and the effects so far. */
export interface Turn {
  readonly core: Core;
  readonly now: Now;
  readonly effects: Effect[];
  /** The earliest moment that somebody named with `wake`. */
  wakeAt: MonoMs;
}

/** Sees to it that a tick comes at `at` or before. Moments that have passed are the caller's to handle. */
export function wake(turn: Turn, at: MonoMs): void {
  if (at < turn.wakeAt) turn.wakeAt = at;
}

/** True when `at` has come; otherwise a tick will come then. */
export function due(turn: Turn, at: MonoMs): boolean {
  if (turn.now.mono >= at) return true;
  wake(turn, at);
  return false;
}

export function newOp(core: Core): Op {
  core.lastOp += 1;
  return core.lastOp;
}

/** The coordinator's clock: wall time at the start, monotonic from then on. */
export function jobTime({ core, now }: Turn): EpochMs {
  const anchor = core.anchor ?? now;
  return later(anchor.wall, between(anchor.mono, now.mono));
}

/** A moment on the coordinator's clock as one on the monotonic clock. */
export function monoOf(turn: Turn, at: EpochMs): MonoMs {
  return later(turn.now.mono, between(jobTime(turn), at));
}

export function log(
  turn: Turn,
  level: LogLevel,
  message: string,
  facts: Readonly<Record<string, unknown>> = {},
): void {
  turn.effects.push({ kind: "log", level, message, facts });
}

export function audit(
  turn: Turn,
  event: AuditEvent["event"],
  facts: Partial<Omit<AuditEvent, "v" | "tenant" | "job" | "term" | "timeMs" | "event">> = {},
): void {
  const { core } = turn;
  turn.effects.push({
    kind: "audit",
    event: {
      v: 1,
      ...core.settings.id,
      term: core.leadership.term,
      timeMs: Math.floor(jobTime(turn)),
      event,
      ...facts,
    },
  });
}

/** Says a warning once, until it is taken back. */
export function warn(turn: Turn, key: string, message: string): void {
  if (turn.core.warnings.get(key) === message) return;
  turn.core.warnings.set(key, message);
  log(turn, "warn", message, { warning: key });
}

export function unwarn(turn: Turn, key: string): void {
  turn.core.warnings.delete(key);
}

export function nextSequence(core: Core): number {
  core.lastSequence += 1;
  return core.lastSequence;
}

/** What is said to all agents, in the order of its making. */
export const noticeOf = (turn: Turn, what: Notice["what"]): Effect => ({
  kind: "notify",
  notice: {
    v: 1,
    ...turn.core.settings.id,
    term: turn.core.leadership.term,
    sequence: nextSequence(turn.core),
    timeMs: rounded(jobTime(turn)),
    what,
  },
});

export const rounded = (instant: EpochMs): EpochMs => epochMs(Math.floor(instant));
export const plus = (at: MonoMs, by: DurationMs): MonoMs => later(at, by);

/** Counts a refused message. Nothing else happens: what can't be trusted changes nothing. */
export function countRefused(core: Core, code: ErrorCode): void {
  core.refused.set(code, (core.refused.get(code) ?? 0) + 1);
}
