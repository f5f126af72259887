/**
 * Two ways to stop (design, section 6). Handing over keeps everything: a call under way is recorded,
 * then the lease is released. Ending the job cancels what can be cancelled, says goodbye, leaves a
 * tombstone in the lease, and removes the rest. Each step is one I/O; one that fails is logged and
 * the next one follows, since a half-ended job helps nobody.
 */
import { durationMs, type MonoMs, seconds } from "../../protocol/time.ts";
import { ALWAYS, audit, due, log, newOp, noticeOf, plus, type Turn } from "./core.ts";
import type { Effect, Event, Op } from "./effects.ts";
import { recordOf } from "./provider-run.ts";

export interface Ending {
  how: "handed-over" | "ended" | undefined;
  /** What is left to do; undefined until calls under way have been recorded. */
  steps: Effect[] | undefined;
  op: Op | undefined;
  /** The step that bears `op`. */
  step: Effect | undefined;
  /** No step before this. */
  notBefore: MonoMs;
  /** The last write of the lease is tried again until then. */
  leaseUntil: MonoMs | undefined;
  /** Calls under way are waited for until then. */
  drainUntil: MonoMs | undefined;
  /** A step that does not answer is passed over then. */
  stepUntil: MonoMs | undefined;
  finished: boolean;
}

export const newEnding = (): Ending => ({
  how: undefined,
  steps: undefined,
  op: undefined,
  step: undefined,
  notBefore: ALWAYS,
  leaseUntil: undefined,
  drainUntil: undefined,
  stepUntil: undefined,
  finished: false,
});

const STEP_LIMIT = seconds(10);

export function startEnding(turn: Turn, how: "handed-over" | "ended"): void {
  const { ending, providers } = turn.core;
  if (ending.how === "ended" || ending.how === how) return;
  ending.how = how;
  const longest = Math.max(0, ...[...providers.values()].map((run) => run.settings.callTimeout));
  ending.drainUntil = plus(turn.now.mono, durationMs(longest + 2000));
}

/** True when no new attempt may begin. */
export const isEnding = ({ core }: Turn): boolean => core.ending.how !== undefined;

export function advanceEnding(turn: Turn): void {
  const { core, now } = turn;
  const { ending } = core;
  if (ending.how === undefined || ending.finished) return;
  if (core.leadership.held === undefined && ending.steps === undefined) {
    finish(turn);
    return;
  }
  if (ending.steps === undefined) {
    const busy = [...core.providers.values()].some(
      (run) => run.phase.kind !== "idle" && run.phase.kind !== "waiting-out",
    );
    const unsaved = core.writer.committedSeq < core.writer.truthSeq;
    // A write of the lease that is under way would take the tombstone's place.
    const writing = core.leadership.write !== undefined || core.leadership.verify;
    if ((busy || unsaved || writing) && !due(turn, ending.drainUntil ?? now.mono)) return;
    ending.steps = stepsOf(turn, ending.how);
    audit(turn, ending.how === "ended" ? "job-ended" : "coordinator-stops", {});
  }
  if (ending.op !== undefined) {
    if (!due(turn, ending.stepUntil ?? now.mono)) return;
    log(turn, "warn", "a step of ending took too long: passed over", {});
    ending.op = undefined;
  }
  if (!due(turn, ending.notBefore)) return;
  const next = ending.steps.shift();
  if (next === undefined) {
    finish(turn);
    return;
  }
  turn.effects.push(next);
  ending.step = next;
  ending.op = "op" in next ? next.op : undefined;
  ending.stepUntil = plus(now.mono, STEP_LIMIT);
}

function finish(turn: Turn): void {
  const { ending, leadership } = turn.core;
  ending.finished = true;
  leadership.role = "over";
  leadership.held = undefined;
  turn.effects.push({ kind: "finished", how: ending.how ?? "handed-over" });
}

function stepsOf(turn: Turn, how: "handed-over" | "ended"): Effect[] {
  const { core } = turn;
  const { leadership } = core;
  const lease = (state: "released" | "ended"): Effect[] =>
    leadership.held === undefined
      ? []
      : [
          {
            kind: "write-lease",
            op: newOp(core),
            expected: leadership.held.revision,
            record: { ...leadership.held.record, state },
          },
        ];
  if (how === "handed-over") return lease("released");
  const cancels: Effect[] = [...core.providers.values()].flatMap((run) => {
    const credential = recordOf(core.writer.truth, run.settings.name)?.credential;
    return run.settings.cancels && credential !== undefined
      ? [{ kind: "cancel" as const, op: newOp(core), provider: run.settings.name, credential }]
      : [];
  });
  return [
    noticeOf(turn, { kind: "goodbye" }),
    ...cancels,
    ...lease("ended"),
    { kind: "remove-keys", op: newOp(core) },
    { kind: "obliterate-queue", op: newOp(core) },
  ];
}

/** Any outcome of a step under way: the next one follows. */
export function onStepDone(
  turn: Turn,
  event: Extract<Event, { op: Op; outcome: unknown }>,
): boolean {
  const { ending } = turn.core;
  if (ending.op === undefined || ending.op !== event.op) return false;
  ending.op = undefined;
  if (!event.outcome.ok) {
    log(turn, "warn", "a step of ending failed", { code: event.outcome.error.code });
  }
  leaseAgain(turn, event);
  return true;
}

/**
 * The last word in the lease is worth more than one try: without it a standby goes on with a job
 * that has ended. What stands there decides, as it does for every write whose outcome is unknown.
 */
function leaseAgain(turn: Turn, event: Extract<Event, { op: Op; outcome: unknown }>): void {
  const { core, now } = turn;
  const { ending, settings, leadership } = core;
  const { step, steps } = ending;
  const ofLease = step?.kind === "write-lease" || step?.kind === "read-lease";
  if (!ofLease || steps === undefined) return;
  ending.leaseUntil ??= plus(now.mono, STEP_LIMIT);
  if (now.mono >= ending.leaseUntil) return;
  const op = newOp(core);
  if (!event.outcome.ok) {
    steps.unshift({ kind: "read-lease", op });
    const unheard = event.outcome.error.code !== "STORE_CONFLICT";
    if (unheard) ending.notBefore = plus(now.mono, settings.timing.storeRetry);
    return;
  }
  if (event.kind !== "lease-read" || leadership.held === undefined) return;
  const { entry } = event.outcome.value;
  if (entry !== undefined && entry.value.holder !== settings.holder) return; // A successor's.
  const state = ending.how === "ended" ? "ended" : "released";
  if (entry?.value.state === state) return;
  const record = { ...leadership.held.record, state } as const;
  steps.unshift({ kind: "write-lease", op, expected: entry?.revision, record });
}
