/**
 * The driver of the coordinator's core: performs each effect as one I/O on one port, and feeds its
 * outcome back as one event. It decides nothing. The simulation runs this same driver on simulated
 * ports.
 */
import type { Version } from "../../protocol/names.ts";
import { type Done, failure, type Outcome, success } from "../../protocol/outcome.ts";
import type { Clock, DurationMs } from "../../protocol/time.ts";
import { runMachine } from "../../runtime/mailbox.ts";
import type { Core } from "../core/core.ts";
import type { Effect, Event, LogLevel, StoreReading } from "../core/effects.ts";
import type { JobState } from "../core/job-state.ts";
import type { LeaseRecord } from "../core/lease-record.ts";
import type { CoreSettings } from "../core/settings.ts";
import { newCore, step } from "../core/step.ts";
import type { AgentLink } from "../ports/agent-link.ts";
import type { AuditSink } from "../ports/audit-sink.ts";
import type { BundleSealer } from "../ports/bundle-sealer.ts";
import type { CasRegister, Reading } from "../ports/cas-register.ts";
import type { Issuer } from "../ports/issuer.ts";
import type { RenewalQueue } from "../ports/renewal-queue.ts";

export interface CoordinatorPorts {
  readonly lease: CasRegister<LeaseRecord>;
  readonly state: CasRegister<JobState>;
  readonly bundle: CasRegister<Uint8Array>;
  /** The readable version of a stored bundle; undefined when it is none. Nothing of it is proved. */
  versionOf(sealed: Uint8Array): Version | undefined;
  readonly sealer: BundleSealer;
  readonly queue: RenewalQueue;
  readonly link: AgentLink;
  readonly audit: AuditSink;
  readonly issuers: ReadonlyMap<string, Issuer>;
  log(level: LogLevel, message: string, facts: Readonly<Record<string, unknown>>): void;
}

export interface DriverOptions {
  readonly settings: CoreSettings;
  readonly ports: CoordinatorPorts;
  readonly clock: Clock;
  /** The core has come to its end, or (with an error) has a defect and was stopped. */
  finished(how: "handed-over" | "ended" | { readonly fault: unknown }): void;
}

export interface Driver {
  emit(event: Event): void;
  core(): Core;
  /** Drops everything at once, as a crash would. */
  stop(): void;
}

/** Starts the core: subscribes, consumes, and begins to seek the lease. */
export function startDriver(options: DriverOptions): Driver {
  const { ports, clock, settings } = options;
  const machine = runMachine<Core, Event, Effect>({
    initial: newCore(settings),
    step(core, event, now) {
      const { effects, wakeAt } = step(core, event, now);
      return { state: core, effects, wakeAt: Number.isFinite(wakeAt) ? wakeAt : undefined };
    },
    perform: (effect, emit) => perform(options, effect, emit),
    wake: { kind: "tick" },
    clock,
    fault: (fault) => options.finished({ fault }),
  });
  ports.link.listen(machine.emit);
  ports.queue.onReconnect(() => machine.emit({ kind: "queue-back" }));
  machine.emit({ kind: "start" });
  return { emit: machine.emit, core: machine.state, stop: machine.stop };
}

/** An outcome that nobody waits for: a failure is logged, and the next beat, tick or retry mends it. */
function reportFailure(ports: CoordinatorPorts, doing: string): Done<void> {
  return (outcome) => {
    if (!outcome.ok) ports.log("debug", `${doing} failed`, { code: outcome.error.code });
  };
}

function perform(
  { ports, finished, settings }: DriverOptions,
  effect: Effect,
  emit: (event: Event) => void,
): void {
  switch (effect.kind) {
    case "read-lease":
      ports.lease.read((outcome) => emit({ kind: "lease-read", op: effect.op, outcome }));
      return;
    case "write-lease":
      ports.lease.write(effect.expected, effect.record, (outcome) =>
        emit({ kind: "lease-written", op: effect.op, outcome }),
      );
      return;
    case "read-state":
      ports.state.read((outcome) => emit({ kind: "state-read", op: effect.op, outcome }));
      return;
    case "write-state":
      ports.state.write(effect.expected, effect.state, (outcome) =>
        emit({ kind: "state-written", op: effect.op, outcome }),
      );
      return;
    case "read-bundle":
      ports.bundle.read((outcome) =>
        emit({ kind: "bundle-read", op: effect.op, outcome: versionRead(ports, outcome) }),
      );
      return;
    case "write-bundle":
      ports.bundle.write(effect.expected, effect.sealed, (outcome) =>
        emit({ kind: "bundle-written", op: effect.op, outcome }),
      );
      return;
    case "seal-bundle":
      ports.sealer.seal(effect.bundle, effect.kid, (outcome) =>
        emit({ kind: "bundle-sealed", op: effect.op, outcome }),
      );
      return;
    case "obtain": {
      const issuer = ports.issuers.get(effect.provider);
      if (issuer === undefined) throw new RangeError(`no issuer for ${effect.provider}`);
      issuer.obtain(effect, (outcome, requests) =>
        emit({ kind: "obtained", op: effect.op, provider: effect.provider, requests, outcome }),
      );
      return;
    }
    case "ensure-queue":
      ports.queue.ensure(effect.plan, (outcome) =>
        emit({ kind: "queue-ensured", op: effect.op, outcome }),
      );
      return;
    case "attend":
      ports.link.attend(effect.on);
      if (effect.on) ports.queue.consume((attempt) => emit({ kind: "due", attempt }));
      else ports.queue.pause();
      return;
    case "answer-register":
      ports.link.answerRegister(effect.request, effect.decision, reportFailure(ports, "answering"));
      return;
    case "answer-command":
      ports.link.answerCommand(effect.request, effect.answer, reportFailure(ports, "answering"));
      return;
    case "push":
      ports.link.push(effect.agents, effect.sealed, reportFailure(ports, "sending again"));
      return;
    case "notify":
      ports.link.notify(effect.notice, reportFailure(ports, "notifying"));
      return;
    case "audit":
      ports.audit.record(effect.event);
      return;
    case "log":
      ports.log(effect.level, effect.message, effect.facts);
      return;
    case "cancel": {
      const timeout = settings.providers.find((p) => p.name === effect.provider)?.callTimeout;
      const issuer = ports.issuers.get(effect.provider);
      if (issuer === undefined) throw new RangeError(`no issuer for ${effect.provider}`);
      issuer.cancel(effect.credential, (timeout ?? 0) as DurationMs, (outcome) =>
        emit({ kind: "step-done", op: effect.op, outcome }),
      );
      return;
    }
    case "remove-keys":
      ports.bundle.remove((bundle) =>
        ports.state.remove((state) =>
          emit({ kind: "step-done", op: effect.op, outcome: bundle.ok ? state : bundle }),
        ),
      );
      return;
    case "obliterate-queue":
      ports.queue.obliterate((outcome) => emit({ kind: "step-done", op: effect.op, outcome }));
      return;
    case "finished":
      finished(effect.how);
      return;
  }
}

/** Bytes that are no bundle are below every version: whoever leads writes over them. */
function versionRead(
  ports: CoordinatorPorts,
  outcome: Outcome<Reading<Uint8Array>>,
): Outcome<StoreReading<Version>> {
  if (!outcome.ok) return failure(outcome.error);
  const { entry, incarnation } = outcome.value;
  if (entry === undefined) return success({ entry: undefined, incarnation });
  const version = ports.versionOf(entry.value);
  const value = {
    term: version?.term ?? 0,
    generation: version?.generation ?? 0,
  };
  return success({ entry: { revision: entry.revision, value }, incarnation });
}
