/**
 * The renewal of one provider's credential. Each provider has its own run, its own schedule and its
 * own failures (I6); they meet only in the writer, which merges what was obtained meanwhile.
 *
 * idle -> intending (the intent is being made durable) -> calling (the lease was checked again, the
 * issuer is asked) -> obtained (waits for the writer) -> recording -> idle.
 * waiting-out: an intent of somebody who is gone may still be at the issuer; its time must pass first.
 *
 * I3: one issuer call per attempt; a new attempt follows only a failed or unknown outcome.
 */
import type { Reason } from "../../protocol/control.ts";
import { classOf } from "../../protocol/errors.ts";
import { between, durationMs, monoMs } from "../../protocol/time.ts";
import { call, finish, intend } from "./attempt.ts";
import { due, log, plus, type Turn, wake } from "./core.ts";
import { isLeading, leaseCovers } from "./lease.ts";
import { earliestCall, mostCalls, watchdogGrace } from "./plan.ts";
import { type ProviderRun, recordOf, withRecord } from "./provider-run.ts";
import { changeTruth, isDurable } from "./writer.ts";

/** Whether the plan may now be carried out, and why. Names the next moment to look again otherwise. */
function dueReason(turn: Turn, run: ProviderRun): Reason | undefined {
  const { core } = turn;
  const { next, demand } = run;
  let reason: Reason | undefined;
  if (next !== undefined) {
    const grace =
      next.queued && core.schedule.confirmed
        ? watchdogGrace(
            between(next.at, run.expires ?? next.at),
            core.settings.timing.watchdogGrace,
          )
        : durationMs(0);
    if (next.fired ? due(turn, next.at) : due(turn, plus(next.at, grace))) reason = next.reason;
  }
  if (demand !== undefined && due(turn, run.cooldown.until)) reason = demand.reason;
  if (reason === undefined) return undefined;
  // I11 holds for demands and retries alike.
  const most = mostCalls(run.longestLifetime, core.settings.ratio);
  const earliest = monoMs(Math.max(run.notBefore, earliestCall(run.calls, most)));
  return due(turn, earliest) ? reason : undefined;
}

export function advanceRenewal(turn: Turn, run: ProviderRun): void {
  const { core, now } = turn;
  if (run.expires !== undefined && run.expires > now.mono) wake(turn, run.expires);
  if (!isLeading(core)) return;
  noteExpiry(turn, run);
  switch (run.phase.kind) {
    case "idle": {
      const reason = dueReason(turn, run);
      if (reason === undefined) return;
      if (!leaseCovers(turn, run.settings.callTimeout)) return; // The next renewal of the lease wakes us.
      if (run.next?.queued === true && !run.next.fired && core.schedule.confirmed) {
        if (run.demand === undefined) {
          const { name } = run.settings;
          log(turn, "warn", "the queue is late: the watchdog renews", { provider: name });
        }
      }
      intend(turn, run, reason);
      return;
    }
    case "intending":
      if (!isDurable(turn, run.phase.seq)) return;
      if (!leaseCovers(turn, run.settings.callTimeout)) return;
      call(turn, run, run.phase.nonce, run.phase.reason);
      return;
    case "waiting-out":
      if (!due(turn, run.phase.until)) return;
      run.phase = { kind: "idle" };
      wake(turn, now.mono);
      changeTruth(turn, (state) =>
        withRecord(state, run, (record) => ({
          ...record,
          attempt: record.attempt + 1,
          intent: undefined,
          counts: { ...record.counts, recoveries: record.counts.recoveries + 1 },
        })),
      );
      run.next = { at: now.mono, reason: "recovery", queued: false, fired: false };
      return;
    case "recording":
      if (!isDurable(turn, run.phase.seq)) return;
      finish(turn, run, run.phase.reason, run.phase.receipt);
      return;
    case "calling":
    case "obtained":
      return;
  }
}

function noteExpiry(turn: Turn, run: ProviderRun): void {
  if (run.expires === undefined || run.expires > turn.now.mono || run.countedFromExpiry) return;
  // The ladder starts again: the slowest tries must not come when the job is already without.
  run.countedFromExpiry = true;
  if (run.failures > 0) {
    run.failures = 0;
    log(turn, "error", "the credential has expired", { provider: run.settings.name });
    if (run.phase.kind === "idle" && run.next !== undefined) {
      const { retryFirst } = turn.core.settings.timing;
      const soon = plus(turn.now.mono, retryFirst);
      if (
        soon < run.next.at &&
        run.lastError !== undefined &&
        classOf(run.lastError.code) === "transient"
      ) {
        run.next = { at: soon, reason: "retry", queued: false, fired: false };
      }
    }
  }
}

/** The queue says that an attempt is due. Early, stale and doubled ones are harmless. */
export function onDue(
  turn: Turn,
  attempt: { provider: string; generation: number; attempt: number },
): void {
  const run = turn.core.providers.get(attempt.provider);
  const record = recordOf(turn.core.writer.truth, attempt.provider);
  if (run?.next === undefined || !run.next.queued || run.phase.kind !== "idle") return;
  const current =
    (record?.credential?.generation ?? 0) === attempt.generation &&
    (record?.attempt ?? 0) === attempt.attempt;
  if (!current) return;
  // An early one (a clock has stepped) now waits for the planned moment on the monotonic clock.
  run.next.fired = true;
}
