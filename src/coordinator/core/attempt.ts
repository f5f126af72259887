/**
 * One attempt, from the intent to its outcome. The order is fixed: the intent is durable before the
 * issuer is called, and every call ends in exactly one of obtained, failure and recovery (I3).
 */
import type { Reason } from "../../protocol/control.ts";
import { classOf, type EvergrantError } from "../../protocol/errors.ts";
import { between, type DurationMs, durationMs } from "../../protocol/time.ts";
import { audit, jobTime, log, monoOf, newOp, plus, type Turn, unwarn, warn } from "./core.ts";
import { startCooldown } from "./demand.ts";
import type { Event } from "./effects.ts";
import { hashUnit, mostCalls, retryDelay } from "./plan.ts";
import { noteLifetime, type ProviderRun, recordOf, remaining, withRecord } from "./provider-run.ts";
import { type Receipt, receiptOf } from "./receipt.ts";
import { changeTruth } from "./writer.ts";

/** Records what is about to be asked, and puts the plan and the demand that it serves down. */
export function intend(turn: Turn, run: ProviderRun, reason: Reason): void {
  const { core, now } = turn;
  const { name, callTimeout } = run.settings;
  const nonce = `${core.settings.holder}.${newOp(core)}`;
  if (run.demand !== undefined) startCooldown(turn, run, run.demand.reason === "demand");
  run.demand = undefined;
  run.next = undefined;
  const seq = changeTruth(turn, (state) =>
    withRecord(state, run, (record) => ({
      ...record,
      intent: { nonce, reason, duration: callTimeout },
      counts: { ...record.counts, calls: record.counts.calls + 1 },
    })),
  );
  run.phase = { kind: "intending", seq, nonce, reason };
  log(turn, "debug", "intent recorded", { provider: name, reason, atMs: now.mono });
}

/** The intent is durable and the lease covers the call: asks the issuer. */
export function call(turn: Turn, run: ProviderRun, nonce: string, reason: Reason): void {
  const { core, now } = turn;
  const { name, callTimeout } = run.settings;
  const record = recordOf(core.writer.truth, name);
  run.calls.push(now.mono);
  while (run.calls.length > mostCalls(run.longestLifetime, core.settings.ratio)) run.calls.shift();
  run.callsForNext += 1;
  const op = newOp(core);
  run.phase = { kind: "calling", op, nonce, reason, askedAt: jobTime(turn) };
  audit(turn, "obtain-started", { provider: name, reason });
  turn.effects.push({
    kind: "obtain",
    op,
    provider: name,
    reason,
    current: record?.credential,
    freshIdentity: run.lastError !== undefined && classOf(run.lastError.code) === "identity",
    replace: reason === "forced" || reason === "demand" || reason === "config",
    timeout: callTimeout,
  });
}

export function onObtained(turn: Turn, event: Extract<Event, { kind: "obtained" }>): void {
  const { core } = turn;
  const run = core.providers.get(event.provider);
  if (run?.phase.kind !== "calling" || run.phase.op !== event.op) return;
  const { nonce, reason, askedAt } = run.phase;
  if (core.writer.truth !== undefined && event.requests > 0) {
    changeTruth(turn, (state) =>
      withRecord(state, run, (record) => ({
        ...record,
        counts: { ...record.counts, requests: record.counts.requests + event.requests },
      })),
    );
  }
  if (!event.outcome.ok) {
    fail(turn, run, event.outcome.error);
    return;
  }
  const current = recordOf(core.writer.truth, event.provider)?.credential;
  const receipt = receiptOf(turn, run.settings, askedAt, event.outcome.value, current);
  if (!receipt.ok) {
    fail(turn, run, receipt.error);
    return;
  }
  run.phase = { kind: "obtained", nonce, reason, receipt: receipt.value };
}

function fail(turn: Turn, run: ProviderRun, error: EvergrantError): void {
  const { core } = turn;
  const { name } = run.settings;
  run.phase = { kind: "idle" };
  changeTruth(turn, (state) =>
    withRecord(state, run, (record) => ({
      ...record,
      attempt: record.attempt + 1,
      intent: undefined,
      counts: { ...record.counts, failures: record.counts.failures + 1 },
    })),
  );
  const wait = planRetry(turn, run, error);
  audit(turn, "obtain-failed", { provider: name, code: error.code });
  log(turn, "warn", "obtaining failed", {
    provider: name,
    code: error.code,
    class: classOf(error.code),
    error: error.message,
    ...error.details,
    failures: run.failures,
    retryInMs: wait,
  });
  core.rotations.failed(turn, name, error);
}

/** Plans the next attempt after a failure, and says so to operators where waiting alone will not mend it. */
function planRetry(turn: Turn, run: ProviderRun, error: EvergrantError): DurationMs {
  const { core, now } = turn;
  const { id, timing } = core.settings;
  const { name } = run.settings;
  const sameClass =
    run.lastError !== undefined && classOf(run.lastError.code) === classOf(error.code);
  // An identity that is rejected for the first time is made anew at once, wherever the ladder stands.
  if (classOf(error.code) === "identity" && !sameClass) run.failures = 0;
  run.failures += 1;
  run.lastError = error;
  const record = recordOf(core.writer.truth, name);
  const generation = record?.credential?.generation ?? 0;
  const wait = retryDelay({
    failures: run.failures,
    errorClass: classOf(error.code),
    remaining: remaining(turn, run),
    never: record?.credential === undefined,
    unit: hashUnit(id.tenant, id.job, name, generation, record?.attempt ?? 0),
    first: timing.retryFirst,
    max: timing.retryMax,
  });
  run.next = { at: plus(now.mono, wait), reason: "retry", queued: true, fired: false };
  if (classOf(error.code) !== "transient") {
    warn(turn, `provider:${name}`, `${name}: ${error.message}: serving what is held, retrying`);
  }
  return wait;
}

/** The credential is durable: plans its renewal. */
export function finish(turn: Turn, run: ProviderRun, reason: Reason, receipt: Receipt): void {
  const { core, now } = turn;
  const { name } = run.settings;
  const record = recordOf(core.writer.committed, name);
  run.phase = { kind: "idle" };
  // A part that goes on failing climbs the ladder, or it would use up the calls of the whole (I11).
  if (receipt.problem === undefined) run.failures = 0;
  run.countedFromExpiry = false;
  unwarn(turn, `provider:${name}`);
  const { credential } = receipt;
  run.expires = receipt.expires;
  noteLifetime(run, between(credential.issuedAt, credential.expiresAt));
  run.skew = credential.issuerSkew;
  audit(turn, "obtained", {
    provider: name,
    generation: record?.credential?.generation ?? 0,
    reason,
  });
  log(turn, "info", "credential obtained", {
    provider: name,
    generation: record?.credential?.generation,
    reason,
    lifetimeMs: between(credential.issuedAt, credential.expiresAt),
    skewMs: credential.issuerSkew,
  });
  if (receipt.problem !== undefined) {
    const wait = planRetry(turn, run, receipt.problem);
    log(turn, "warn", "a part could not be renewed", {
      provider: name,
      code: receipt.problem.code,
      retryInMs: wait,
    });
    return;
  }
  run.lastError = undefined;
  const planned = monoOf(turn, record?.renewAt ?? jobTime(turn));
  // An issuer that hands out what is nearly over would be asked again at once: at the ladder's pace instead.
  const left = remaining(turn, run) ?? durationMs(0);
  const soonest = plus(
    now.mono,
    durationMs(Math.max(1000, Math.min(core.settings.timing.retryFirst, left / 3))),
  );
  const at = planned > now.mono ? planned : soonest;
  run.next = { at, reason: "scheduled", queued: true, fired: false };
}
