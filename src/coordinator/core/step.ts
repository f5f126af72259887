/**
 * The coordinator's core: `step(core, event, now)` notes the event, then does everything that is due,
 * until nothing is. It gives the effects to perform, and when to call again with a tick.
 *
 * Order of one rotation (design, section 6), and where it is kept:
 * (1) the lease covers the call: renewal.ts, `advanceRenewal` idle; (2) the intent is durable: writer.ts;
 * (3) the lease again: `advanceRenewal` intending; (4) the issuer: `obtain`; (5) the result is durable
 * and gets its generation: `mergeObtained`; (6) the bundle: publisher.ts; (7) the queue: schedule.ts;
 * (8) acks: roster.ts, rotations.ts.
 */
import type { JobStatus } from "../../protocol/control.ts";
import type { MonoMs, Now } from "../../protocol/time.ts";
import { adopt } from "./adoption.ts";
import { onObtained } from "./attempt.ts";
import { onCommand } from "./commands.ts";
import { audit, type Core, countRefused, FAR, log, noticeOf, type Turn } from "./core.ts";
import type { Effect, Event } from "./effects.ts";
import { advanceEnding, isEnding, newEnding, onStepDone, startEnding } from "./ending.ts";
import { advanceLeadership, onLeaseRead, onLeaseWritten } from "./leadership.ts";
import { isLeading, newLeadership } from "./lease.ts";
import { mergeObtained } from "./merging.ts";
import { newRun } from "./provider-run.ts";
import {
  advancePublisher,
  isPublished,
  newPublisher,
  onBundleRead,
  onBundleSealed,
  onBundleWritten,
} from "./publisher.ts";
import { onRegister } from "./registration.ts";
import { announceRekey, rekey } from "./rekeying.ts";
import { advanceRenewal, onDue } from "./renewal.ts";
import { advanceResending, newResending } from "./resending.ts";
import { advanceRoster, newRoster, onReport, restartRoster } from "./roster.ts";
import { Rotations } from "./rotations.ts";
import { advanceSchedule, newSchedule, onQueueBack, onQueueEnsured } from "./schedule.ts";
import type { CoreSettings } from "./settings.ts";
import { jobStatus } from "./status.ts";
import {
  advanceWriter,
  changeTruth,
  newWriter,
  onStateRead,
  onStateWritten,
  writerIsIdle,
} from "./writer.ts";

export interface Step {
  readonly effects: readonly Effect[];
  /** When to send a tick, at the latest; infinity for never. */
  readonly wakeAt: MonoMs;
}

export function newCore(settings: CoreSettings): Core {
  return {
    settings,
    anchor: undefined,
    lastOp: 0,
    lastSequence: 0,
    leadership: newLeadership(),
    writer: newWriter(),
    publisher: newPublisher(),
    schedule: newSchedule(),
    providers: new Map(
      settings.providers.map((p) => [p.name, newRun(p, settings.timing.cooldownFirst)]),
    ),
    roster: newRoster(),
    resending: newResending(),
    rotations: new Rotations(),
    ending: newEnding(),
    refused: new Map(),
    warnings: new Map(),
    nonces: new Map(),
    connected: false,
  };
}

/** More rounds than any event can need: beyond it the machine has a defect, and must not spin. */
const MAX_ROUNDS = 1000;

export function step(core: Core, event: Event, now: Now): Step {
  const turn: Turn = { core, now, effects: [], wakeAt: FAR };
  note(turn, event);
  if (core.anchor !== undefined) {
    let before = -1;
    for (let round = 0; turn.effects.length !== before || turn.wakeAt <= now.mono; round += 1) {
      if (round > MAX_ROUNDS) throw new RangeError("the core does not come to rest");
      before = turn.effects.length;
      turn.wakeAt = FAR;
      advance(turn);
    }
  }
  return { effects: turn.effects, wakeAt: turn.wakeAt };
}

function note(turn: Turn, event: Event): void {
  const { core, now } = turn;
  if ("op" in event && onStepDone(turn, event)) return;
  switch (event.kind) {
    case "start":
      core.anchor ??= now;
      return;
    case "tick":
    case "step-done":
      return;
    case "hand-over":
      startEnding(turn, "handed-over");
      return;
    case "end":
      startEnding(turn, "ended");
      return;
    case "lease-read":
      onLeaseRead(turn, event);
      return;
    case "lease-written":
      onLeaseWritten(turn, event);
      return;
    case "state-read":
      onStateRead(turn, event);
      return;
    case "state-written":
      onStateWritten(turn, event);
      return;
    case "bundle-read":
      onBundleRead(turn, event);
      return;
    case "bundle-written":
      onBundleWritten(turn, event);
      return;
    case "bundle-sealed":
      onBundleSealed(turn, event);
      return;
    case "obtained":
      onObtained(turn, event);
      return;
    case "queue-ensured":
      onQueueEnsured(turn, event);
      return;
    case "queue-back":
      onQueueBack(turn);
      return;
    case "due":
      onDue(turn, event.attempt);
      return;
    case "connected":
      onConnected(turn);
      return;
    case "disconnected":
      core.connected = false;
      return;
    case "register":
      onRegister(turn, event);
      return;
    case "report":
      onReport(turn, event.report);
      return;
    case "command":
      onCommand(turn, event);
      return;
    case "refused":
      countRefused(core, event.code);
      return;
  }
}

/** The broker is there again: what the stores hold must be looked at before anything is written. */
function onConnected(turn: Turn): void {
  const { core } = turn;
  const { leadership } = core;
  const again = !core.connected && leadership.held !== undefined;
  core.connected = true;
  leadership.notBefore = turn.now.mono;
  core.writer.notBefore = turn.now.mono;
  core.publisher.notBefore = turn.now.mono;
  if (again) leadership.verify = true;
}

function advance(turn: Turn): void {
  const { core } = turn;
  advanceEnding(turn);
  if (core.ending.finished || core.leadership.role === "over") return;
  if (core.ending.steps === undefined) advanceLeadership(turn);
  takeOver(turn);
  if (core.ending.steps === undefined) {
    for (const run of core.providers.values()) {
      if (isEnding(turn) && run.phase.kind === "idle") continue;
      advanceRenewal(turn, run);
    }
    if (writerIsIdle(turn)) mergeObtained(turn);
    advanceWriter(turn);
    advancePublisher(turn);
    if (isLeading(core)) {
      askForReports(turn);
      announceRekey(turn);
    }
    advanceSchedule(turn);
  }
  advanceRoster(turn);
  if (isLeading(core)) advanceResending(turn);
}

/** The state is fenced with the own term: from here on this coordinator leads. */
function takeOver(turn: Turn): void {
  const { core, now } = turn;
  const { leadership, writer } = core;
  if (leadership.role !== "loading" || writer.phase !== "open") return;
  if (writer.committed?.term !== leadership.term) return;
  leadership.role = "leading";
  leadership.leadingSince = now.mono;
  turn.effects.push({ kind: "attend", on: true });
  core.schedule.ensured = "?";
  restartRoster(turn);
  dropUnconfigured(turn);
  rekey(turn);
  for (const run of core.providers.values()) adopt(turn, run);
  log(turn, "info", "leading", { term: leadership.term });
  audit(turn, "coordinator-leads");
  core.publisher.reportWanted = true;
}

/** A provider that was taken out of the configuration: its credential is taken back from the agents. */
function dropUnconfigured(turn: Turn): void {
  const { core } = turn;
  const gone = Object.keys(core.writer.truth?.providers ?? {}).filter(
    (n) => !core.providers.has(n),
  );
  if (gone.length === 0) return;
  changeTruth(turn, (state) => {
    const generation = state.generation + 1;
    const providers = Object.fromEntries(
      Object.entries(state.providers).filter(([name]) => !gone.includes(name)),
    );
    const tombstones = [
      ...state.tombstones.filter((t) => !gone.includes(t.provider)),
      ...gone.map((provider) => ({ provider, generation })),
    ];
    return { ...state, generation, providers, tombstones };
  });
  log(turn, "info", "providers are no longer configured: taken back", { providers: gone });
}

/** After the first publication of a term everybody is asked to report. */
function askForReports(turn: Turn): void {
  const { core } = turn;
  if (!core.publisher.reportWanted || !isPublished(turn)) return;
  core.publisher.reportWanted = false;
  turn.effects.push(noticeOf(turn, { kind: "report" }));
}

/** What operators see now. Changes nothing. */
export const viewStatus = (core: Core, now: Now): JobStatus =>
  jobStatus({ core, now, effects: [], wakeAt: FAR });
