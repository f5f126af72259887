/**
 * The queue made to hold what the state plans. One idempotent operation does it all: at a new plan,
 * at the start, after a reconnect, and every reconcile interval, so that whatever Redis lost is put
 * back (I10).
 */
import { between, type DurationMs, durationMs, type MonoMs } from "../../protocol/time.ts";
import { ALWAYS, due, log, newOp, plus, type Turn, unwarn, wake, warn } from "./core.ts";
import type { Attempt, Event, Op } from "./effects.ts";
import { isLeading } from "./lease.ts";
import { recordOf } from "./provider-run.ts";

export interface Schedule {
  op: Op | undefined;
  /** The plan that the queue was last made to hold, in words. */
  ensured: string;
  ensuring: string;
  /** The last operation went well: the queue may be trusted to raise its dues. */
  confirmed: boolean;
  reconcileAt: MonoMs;
  notBefore: MonoMs;
}

export const newSchedule = (): Schedule => ({
  op: undefined,
  ensured: "?",
  ensuring: "",
  confirmed: false,
  reconcileAt: ALWAYS,
  notBefore: ALWAYS,
});

function planned(turn: Turn): (Attempt & { delay: DurationMs })[] {
  const { core, now } = turn;
  const plan: (Attempt & { delay: DurationMs })[] = [];
  for (const run of core.providers.values()) {
    if (run.next === undefined || !run.next.queued || run.phase.kind !== "idle") continue;
    // Raised in its time, and waiting for something else: the bound on calls, or the lease.
    if (run.next.fired && run.next.at <= now.mono) continue;
    const record = recordOf(core.writer.truth, run.settings.name);
    plan.push({
      provider: run.settings.name,
      generation: record?.credential?.generation ?? 0,
      attempt: record?.attempt ?? 0,
      delay: durationMs(Math.max(0, Math.ceil(between(now.mono, run.next.at)))),
    });
  }
  return plan;
}

export function advanceSchedule(turn: Turn): void {
  const { core } = turn;
  const { schedule } = core;
  if (!isLeading(core) || schedule.op !== undefined) return;
  const plan = planned(turn);
  const words = plan.map((p) => `${p.provider}/${p.generation}/${p.attempt}`).join(" ");
  const changed = words !== schedule.ensured;
  if (!changed && turn.now.mono < schedule.reconcileAt) {
    wake(turn, schedule.reconcileAt);
    return;
  }
  if (!due(turn, schedule.notBefore)) return;
  schedule.op = newOp(core);
  schedule.ensuring = words;
  turn.effects.push({ kind: "ensure-queue", op: schedule.op, plan });
}

export function onQueueEnsured(turn: Turn, event: Extract<Event, { kind: "queue-ensured" }>): void {
  const { core, now } = turn;
  const { schedule, settings } = core;
  if (schedule.op !== event.op) return;
  schedule.op = undefined;
  if (!event.outcome.ok) {
    schedule.confirmed = false;
    schedule.ensured = "?";
    schedule.notBefore = plus(now.mono, settings.timing.storeRetry);
    warn(turn, "queue", "Redis is away: renewals run on the local watchdog");
    return;
  }
  unwarn(turn, "queue");
  const again = schedule.ensured === schedule.ensuring;
  if (again && event.outcome.value > 0) {
    log(turn, "warn", "the queue had lost planned renewals: put back", {
      count: event.outcome.value,
    });
  }
  schedule.ensured = schedule.ensuring;
  schedule.confirmed = true;
  schedule.reconcileAt = plus(now.mono, settings.timing.reconcile);
}

/** A lost connection is back: what is there is not known any more. */
export function onQueueBack({ core }: Turn): void {
  core.schedule.ensured = "?";
  core.schedule.notBefore = ALWAYS;
}
