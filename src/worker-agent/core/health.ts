/** What others may ask about an agent: runway, failing receivers, refusals, readiness. Changes nothing. */
import { between, type DurationMs, durationMs, type Now } from "../../protocol/time.ts";
import { skewOf } from "./clock-estimate.ts";
import type { AgentState, ReceiverState } from "./state.ts";

/** Per provider in milliseconds; 0 for one that is expected and not held. */
export function runwaysOf(state: AgentState, now: Now): Record<string, number> {
  const runways: Record<string, number> = {};
  for (const provider of providersOf(state)) {
    const held = state.held.get(provider);
    runways[provider] = held === undefined ? 0 : Math.max(0, between(now.mono, held.until));
  }
  return runways;
}

/** `kind/provider` to the code of its last failure. */
export function failingOf(state: AgentState): Record<string, string> {
  const failing: Record<string, string> = {};
  for (const { id, failed } of state.receivers.values()) {
    if (failed !== undefined) failing[id] = failed.code;
  }
  return failing;
}

export const refusedOf = (state: AgentState): Record<string, number> =>
  Object.fromEntries(state.refused);

/** Every provider that the newest bundle holds, that is held still, or that is configured. */
export function providersOf(state: AgentState): ReadonlySet<string> {
  return new Set([
    ...state.settings.providers,
    ...[...state.receivers.values()].map(({ spec }) => spec.provider),
    ...state.expected,
    ...state.held.keys(),
  ]);
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not, in words for people, in a stable order. */
  readonly reasons: readonly string[];
}

/** Ready: every provider is held, unexpired, and proved to be served by each of its receivers. */
export function readinessOf(state: AgentState, now: Now): Readiness {
  const reasons: string[] = [];
  if (state.joining === "banned") reasons.push("this agent is banned from the job");
  if (state.membership === undefined) {
    if (!state.connected) reasons.push("not connected to the broker");
    const why = state.notJoined === undefined ? "" : ` (${state.notJoined})`;
    reasons.push(`not registered with a coordinator yet${why}`);
  } else if (state.accepted === undefined) reasons.push("no bundle yet");
  const providers = providersOf(state);
  if (state.accepted !== undefined && providers.size === 0) {
    reasons.push("the bundle holds no credential yet");
  }
  for (const provider of providers) {
    const held = state.held.get(provider);
    if (held === undefined || held.until <= now.mono) {
      reasons.push(`provider ${provider}: no unexpired credential`);
      continue;
    }
    for (const receiver of state.receivers.values()) {
      if (receiver.spec.provider !== provider || servesNow(receiver, now)) continue;
      const why = receiver.failed === undefined ? "not applied yet" : receiver.failed.code;
      reasons.push(`receiver ${receiver.id}: ${why}`);
    }
  }
  return { ready: reasons.length === 0, reasons };
}

/** An older credential that still lives will do: a failed update takes nothing from the consumer. */
const servesNow = ({ serving }: ReceiverState, now: Now): boolean =>
  serving !== undefined && serving.until > now.mono;

/** The facts of an agent at one moment. No secret in it. */
export interface AgentHealth extends Readiness {
  readonly agent: string;
  readonly instance: string;
  readonly joining: AgentState["joining"];
  readonly connected: boolean;
  /** Of the accepted bundle; 0 when there is none. */
  readonly term: number;
  readonly generation: number;
  readonly runwayMs: Readonly<Record<string, number>>;
  readonly failing: Readonly<Record<string, string>>;
  readonly refused: Readonly<Record<string, number>>;
  /** Since the last bundle or repeat of it; undefined: none yet. */
  readonly sinceBundle: DurationMs | undefined;
  /** This machine's wall clock less the coordinator's; undefined before the first registration. */
  readonly skew: DurationMs | undefined;
}

export function healthOf(state: AgentState, now: Now): AgentHealth {
  return {
    ...readinessOf(state, now),
    agent: state.settings.agent,
    instance: state.settings.instance,
    joining: state.joining,
    connected: state.connected,
    term: state.accepted?.term ?? 0,
    generation: state.accepted?.generation ?? 0,
    runwayMs: runwaysOf(state, now),
    failing: failingOf(state),
    refused: refusedOf(state),
    sinceBundle:
      state.bundleAt === undefined ? undefined : durationMs(between(state.bundleAt, now.mono)),
    skew: state.clock === undefined ? undefined : skewOf(state, now),
  };
}
