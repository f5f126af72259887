/**
 * Performs what the machine asks for, each effect by one call of one port, and brings the outcome
 * back as an event. Owns no decision and no promise; the simulation runs this very file.
 */

import { fromBase64Url } from "../../protocol/encoding.ts";
import { ERROR_CODES, type ErrorCode } from "../../protocol/errors.ts";
import type { SigningKey } from "../../protocol/keys.ts";
import type { Outcome } from "../../protocol/outcome.ts";
import type { RegisterAnswer } from "../../protocol/register.ts";
import { Secret } from "../../protocol/secret.ts";
import type { Clock } from "../../protocol/time.ts";
import { type Machine, runMachine } from "../../runtime/mailbox.ts";
import type { AgentEffect, AgentEvent, Membership, News } from "../core/events.ts";
import { type AgentHealth, healthOf } from "../core/health.ts";
import type { AgentSettings } from "../core/settings.ts";
import { type AgentState, initialState } from "../core/state.ts";
import { step } from "../core/step.ts";
import type { AgentStore } from "../ports/agent-store.ts";
import type { BundleOpener } from "../ports/bundle-opener.ts";
import type { CoordinatorLink } from "../ports/coordinator-link.ts";
import type { Receivers } from "../ports/receivers.ts";

export interface AgentPorts {
  readonly link: CoordinatorLink;
  readonly opener: BundleOpener;
  readonly receivers: Receivers;
  /** Called only when `settings.persistent`. */
  readonly store: AgentStore;
  readonly clock: Clock;
}

export interface DriverOptions {
  readonly tenant: string;
  readonly job: string;
  readonly key: Secret<SigningKey>;
  readonly settings: AgentSettings;
  readonly ports: AgentPorts;
  /** Hears all news, in order, inside of the step's turn. Must not throw. */
  readonly tell: (news: News) => void;
  /** A defect has stopped the machine. Receivers go on to serve what they hold until it ends. */
  readonly fault: (thrown: unknown) => void;
  /** Whether its timer leaves the process free to end. Default false. */
  readonly background?: boolean;
}

export interface AgentDriver {
  /** Starts the receivers and listens to the link. */
  start(): void;
  /** A consumer's credential was rejected; `rejected` is its generation, 0 for none at all. */
  demand(provider: string, rejected: number): void;
  health(): AgentHealth;
  /**
   * Says so to the coordinator, if it can be reached, and stops the machine: at once, or, from inside of
   * `tell`, after the step that is under way. Closing link and receivers is the caller's matter.
   */
  leave(): void;
  /** Stops the machine as it is. */
  stop(): void;
}

export function driveAgent(options: DriverOptions): AgentDriver {
  const { ports, settings } = options;
  const machine: Machine<AgentState, AgentEvent> = runMachine({
    initial: initialState(settings),
    step,
    perform(effect: AgentEffect, emit: (event: AgentEvent) => void) {
      if (effect.kind === "stop") machine.stop();
      else perform(options, effect, emit);
    },
    wake: { kind: "wake" } as const,
    clock: ports.clock,
    background: options.background ?? false,
    fault: options.fault,
  });
  return {
    start() {
      machine.emit({ kind: "wake" });
      ports.link.listen((event) => {
        if (event.kind === "bundle") {
          machine.emit({ kind: "sealed", sealed: event.sealed });
        } else machine.emit(event);
      });
    },
    demand: (provider, rejected) => machine.emit({ kind: "demand", provider, rejected }),
    health: () => healthOf(machine.state(), ports.clock.now()),
    leave: () => machine.emit({ kind: "leave" }),
    stop: () => machine.stop(),
  };
}

function perform(
  { ports, settings, tenant, job, key, tell }: DriverOptions,
  effect: Exclude<AgentEffect, { kind: "stop" }>,
  emit: (event: AgentEvent) => void,
): void {
  switch (effect.kind) {
    case "register": {
      const { attempt, ticket, highest, receivers } = effect;
      ports.link.register({ ticket, highest, receivers }, (outcome) =>
        emit(registration(attempt, outcome)),
      );
      return;
    }
    case "open": {
      const { attempt, sealed, membership, now, floor } = effect;
      const { groups } = membership.reveal();
      ports.opener.open(sealed, { groups, now, floor }, (outcome) =>
        emit(
          outcome.ok
            ? { kind: "opened", attempt, bundle: outcome.value }
            : { kind: "unopened", attempt, code: outcome.error.code },
        ),
      );
      return;
    }
    case "report": {
      const { report, membership } = effect;
      ports.link.report(report, membership.reveal().macKey, (outcome) => {
        if (!outcome.ok) emit({ kind: "unreported", report, code: outcome.error.code });
      });
      return;
    }
    case "persist": {
      const { attempt, ticket, highest } = effect;
      const record = { tenant, job, agent: settings.agent, key, ticket, highest };
      ports.store.persist(record, (outcome) =>
        emit({ kind: "persisted", attempt, code: codeOf(outcome) }),
      );
      return;
    }
    case "start":
    case "apply":
    case "withdraw": {
      const { receiver, attempt } = effect;
      const done = (outcome: Outcome<void>) =>
        emit({ kind: "receiver", receiver, attempt, code: codeOf(outcome) });
      if (effect.kind === "start") ports.receivers.start(receiver, effect.spec, done);
      else if (effect.kind === "withdraw") {
        ports.receivers.withdraw(receiver, effect.provider, done);
      } else {
        const { credential, until } = effect.held;
        ports.receivers.apply(receiver, { credential, until }, done);
      }
      return;
    }
    case "tell":
      tell(effect.news);
  }
}

const codeOf = (outcome: Outcome<unknown>): ErrorCode | undefined =>
  outcome.ok ? undefined : outcome.error.code;

const KNOWN_CODES: ReadonlySet<string> = new Set(ERROR_CODES);

function registration(attempt: number, outcome: Outcome<RegisterAnswer>): AgentEvent {
  if (!outcome.ok) {
    return { kind: "unregistered", attempt, code: outcome.error.code, byCoordinator: false };
  }
  const answer = outcome.value;
  if (!answer.accepted) {
    // A newer coordinator may know codes that we don't: it is a refusal all the same.
    const code = KNOWN_CODES.has(answer.code) ? (answer.code as ErrorCode) : "NOT_AUTHORISED";
    return { kind: "unregistered", attempt, code, byCoordinator: true };
  }
  const { body, bundle } = answer;
  const membership: Membership = {
    groups: body.groupKeys.map(({ kid, key }) => ({ kid, key: fromBase64Url(key) })),
    macKey: fromBase64Url(body.macKey),
  };
  return {
    kind: "registered",
    attempt,
    term: body.term,
    generation: body.generation,
    timeMs: body.timeMs,
    membership: new Secret(membership),
    ticket: body.ticket,
    beatMs: body.beatMs,
    sealed: bundle,
  };
}
