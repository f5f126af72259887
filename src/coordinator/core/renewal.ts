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
import type { Credential } from "../../protocol/credential.ts";
import { classOf, type EvergrantError } from "../../protocol/errors.ts";
import { between, type DurationMs, durationMs, later, type MonoMs } from "../../protocol/time.ts";
import {
  ALWAYS,
  audit,
  due,
  jobTime,
  log,
  monoOf,
  newOp,
  plus,
  type Turn,
  unwarn,
  wake,
  warn,
} from "./core.ts";
import type { Event, Op } from "./effects.ts";
import { type JobState, NO_CALLS, type ProviderRecord } from "./job-state.ts";
import { isLeading, leaseCovers } from "./leadership.ts";
import { earliestCall, hashUnit, retryDelay, watchdogGrace } from "./plan.ts";
import { jitterOf, type Receipt, receiptOf, renewAtOf } from "./receipt.ts";
import { type CoreSettings, MAX_CALLS, type ProviderSettings } from "./settings.ts";
import { changeTruth, isDurable } from "./writer.ts";

export type Phase =
  | { readonly kind: "idle" }
  | {
      readonly kind: "intending";
      readonly seq: number;
      readonly nonce: string;
      readonly reason: Reason;
    }
  | { readonly kind: "calling"; readonly op: Op; readonly nonce: string; readonly reason: Reason }
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
  /** Consecutive, counted anew from the expiry on. */
  failures: number;
  countedFromExpiry: boolean;
  lastError: EvergrantError | undefined;
  /** When the last calls began, at most MAX_CALLS. */
  calls: MonoMs[];
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
  failures: 0,
  countedFromExpiry: false,
  lastError: undefined,
  calls: [],
  callsForNext: 0,
  demand: undefined,
  cooldown: { length: cooldown, until: ALWAYS, byAgents: false },
  demandedBy: { generation: 0, agents: new Set() },
  skew: durationMs(0),
});

export const recordOf = (state: JobState | undefined, name: string): ProviderRecord | undefined =>
  state?.providers[name];

function withRecord(
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

/** At the start of a leadership: takes up what the state says, without calling the issuer if it can. */
export function adopt(turn: Turn, run: ProviderRun): void {
  const { now, core } = turn;
  const record = recordOf(core.writer.truth, run.settings.name);
  const { phase } = run;
  const own =
    phase.kind !== "idle" && phase.kind !== "waiting-out" && phase.nonce === record?.intent?.nonce;
  takeUpCredential(turn, run, record);
  if (own && phase.kind === "calling") return;
  if (own && (phase.kind === "obtained" || phase.kind === "recording")) {
    run.phase = { ...phase, kind: "obtained" };
    return;
  }
  if (record?.intent !== undefined) {
    // No double issue: the call of whoever wrote this may still be under way.
    run.phase = { kind: "waiting-out", until: plus(now.mono, record.intent.duration) };
    run.next = undefined;
    return;
  }
  run.phase = { kind: "idle" };
  const plan = (reason: Reason, at: MonoMs = now.mono): void => {
    run.next = { at, reason, queued: at > now.mono, fired: false };
  };
  if (record?.credential === undefined || run.expires === undefined) plan("initial");
  else if (record.configDigest !== run.settings.configDigest) plan("config");
  else if (record.attempt > 0) plan("retry");
  else plan("scheduled", monoOf(turn, record.renewAt ?? jobTime(turn)));
}

function takeUpCredential(turn: Turn, run: ProviderRun, record: ProviderRecord | undefined): void {
  const credential = record?.credential;
  if (credential === undefined) {
    run.expires = undefined;
    run.lifetime = undefined;
    return;
  }
  run.skew = credential.issuerSkew;
  run.lifetime = between(credential.issuedAt, credential.expiresAt);
  run.expires = monoOf(turn, later(credential.expiresAt, durationMs(-credential.issuerSkew)));
}

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
    if (next.fired ? due(turn, next.at) : due(turn, plus(next.at, grace))) {
      if (next.queued && !next.fired && core.schedule.confirmed) {
        log(turn, "warn", "the queue is late: the watchdog renews", {
          provider: run.settings.name,
        });
      }
      reason = next.reason;
    }
  }
  if (demand !== undefined && due(turn, run.cooldown.until)) reason = demand.reason;
  if (reason === undefined) return undefined;
  // I11 holds for demands and retries alike.
  return due(turn, earliestCall(run.calls)) ? reason : undefined;
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

function intend(turn: Turn, run: ProviderRun, reason: Reason): void {
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

function startCooldown(turn: Turn, run: ProviderRun, byAgents: boolean): void {
  const { cooldownFirst, cooldownMax } = turn.core.settings.timing;
  const goesOn =
    byAgents &&
    run.cooldown.byAgents &&
    turn.now.mono < plus(run.cooldown.until, run.cooldown.length);
  const length = goesOn
    ? durationMs(Math.min(run.cooldown.length * 2, cooldownMax))
    : cooldownFirst;
  run.cooldown = { length, until: plus(turn.now.mono, length), byAgents };
}

function call(turn: Turn, run: ProviderRun, nonce: string, reason: Reason): void {
  const { core, now } = turn;
  const { name, callTimeout } = run.settings;
  const record = recordOf(core.writer.truth, name);
  run.calls.push(now.mono);
  if (run.calls.length > MAX_CALLS) run.calls.shift();
  run.callsForNext += 1;
  const op = newOp(core);
  run.phase = { kind: "calling", op, nonce, reason };
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
  const { nonce, reason } = run.phase;
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
  const receipt = receiptOf(turn, run.settings, event.outcome.value, current);
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
function finish(turn: Turn, run: ProviderRun, reason: Reason, receipt: Receipt): void {
  const { core, now } = turn;
  const { name } = run.settings;
  const record = recordOf(core.writer.committed, name);
  run.phase = { kind: "idle" };
  run.failures = 0;
  run.countedFromExpiry = false;
  unwarn(turn, `provider:${name}`);
  const { credential } = receipt;
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

function planOf(
  settings: CoreSettings,
  provider: ProviderSettings,
  credential: Credential,
): Pick<ProviderRecord, "credential" | "renewAt" | "jitter"> {
  const jitter = jitterOf(settings, credential, credential.generation);
  return { credential, jitter, renewAt: renewAtOf(settings, provider, credential, jitter) };
}

/** Merges all that was obtained meanwhile into the next state: one new generation for all of it. */
export function mergeObtained(turn: Turn): void {
  const { core } = turn;
  const ready = [...core.providers.values()].flatMap((run) =>
    run.phase.kind === "obtained" ? [{ run, phase: run.phase }] : [],
  );
  if (ready.length === 0) return;
  const seq = changeTruth(turn, (state) => {
    const generation = state.generation + 1;
    let next: JobState = { ...state, generation };
    for (const { run, phase } of ready) {
      next = withRecord(next, run, (record) => ({
        configDigest: run.settings.configDigest,
        ...planOf(core.settings, run.settings, { ...phase.receipt.credential, generation }),
        attempt: 0,
        intent: undefined,
        counts: { ...record.counts, obtained: record.counts.obtained + 1 },
      }));
      next = {
        ...next,
        tombstones: next.tombstones.filter((t) => t.provider !== run.settings.name),
      };
    }
    return next;
  });
  for (const { run, phase } of ready) {
    run.phase = { ...phase, kind: "recording", seq };
    run.expires = phase.receipt.expires;
    run.lifetime = between(phase.receipt.credential.issuedAt, phase.receipt.credential.expiresAt);
    run.skew = phase.receipt.credential.issuerSkew;
  }
  core.rotations.obtained(
    turn,
    ready.map(({ run, phase }) => {
      const calls = run.callsForNext;
      run.callsForNext = 0;
      return { provider: run.settings.name, reason: phase.reason, calls };
    }),
  );
}

/** Somebody wants a new credential. Requests coalesce; an earlier plan stays as it is. */
export function demandNew(run: ProviderRun, reason: "forced" | "demand"): void {
  if (run.demand?.reason !== "forced") run.demand = { reason };
}

/** An agent's consumer was refused, or it has none. One demand per agent and generation counts. */
export function onAgentDemand(turn: Turn, agent: string, provider: string, rejected: number): void {
  const run = turn.core.providers.get(provider);
  if (run === undefined) return;
  const held = recordOf(turn.core.writer.truth, provider)?.credential?.generation ?? 0;
  if (rejected < held) return; // It has not seen the newer one yet: the broadcast will mend that.
  const { demandedBy } = run;
  if (demandedBy.generation !== held) {
    demandedBy.generation = held;
    demandedBy.agents.clear();
  }
  if (demandedBy.agents.has(agent)) return;
  demandedBy.agents.add(agent);
  if (run.phase.kind === "idle") demandNew(run, "demand");
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
