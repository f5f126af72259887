/** All that the machine remembers. Only the files of this folder write it. */
import type { ErrorCode } from "../../protocol/errors.ts";
import type { Version } from "../../protocol/names.ts";
import type { Secret } from "../../protocol/secret.ts";
import type { DurationMs, EpochMs, MonoMs, Now } from "../../protocol/time.ts";
import type { AgentEffect, Held, Membership } from "./events.ts";
import { type AgentSettings, type ReceiverSpec, receiverIdOf } from "./settings.ts";

/** What a receiver was last asked for. `held` absent: to withdraw; `start`: to come up. */
export interface Errand {
  readonly attempt: number;
  readonly what: "start" | "apply" | "withdraw";
  readonly held: Held | undefined;
  /** From here on the ack counts it as failed, though it may still answer. */
  readonly overdueAt: MonoMs;
}

export interface ReceiverState {
  readonly id: string;
  readonly spec: ReceiverSpec;
  started: boolean;
  /** What it has proved to serve. */
  serving: Held | undefined;
  /** From the arrival of `serving` to its proof. */
  took: DurationMs;
  errand: Errand | undefined;
  /** The last failure, and what it was about. Gone at the next success. */
  failed: { readonly errand: Errand; readonly code: ErrorCode } | undefined;
  failures: number;
  retryAt: MonoMs | undefined;
}

export interface AgentState {
  readonly settings: AgentSettings;
  /** Numbers every attempt, of whatever kind. */
  attempts: number;
  /** Numbers every report of this instance. */
  sequence: number;
  connected: boolean;

  /** Joining. */
  membership: Secret<Membership> | undefined;
  ticket: string | undefined;
  /** `wanted`: at `registerAt`, once connected. `banned`, `ended`: never again. */
  joining: "wanted" | "asking" | "member" | "banned" | "ended";
  registerAt: MonoMs;
  registering: { readonly attempt: number; readonly sentAt: MonoMs } | undefined;
  registerFailures: number;
  /** Why the last registration failed; undefined after a success. */
  notJoined: ErrorCode | undefined;
  /** Not to register for an unknown key before this. */
  keyWantedAt: MonoMs;
  beatMs: DurationMs;

  /** Order (I1): nothing below `minimum`, nothing at or below `accepted`. */
  minimum: Version;
  accepted: Version | undefined;

  /** The coordinator's clock at a monotonic reading. */
  clock: { readonly coordinator: EpochMs; readonly at: MonoMs } | undefined;
  /** Wall minus monotonic, when they were last compared. */
  offset: number | undefined;
  /** They have parted: the next registration measures what is held anew. */
  remeasure: boolean;
  /** The last attempt when they parted: an answer to it, or to an older one, measures nothing. */
  partedAfter: number;

  /** What is being opened, by attempt. */
  opening: Map<number, Opening>;
  /** The newest sealed bundle that no key of ours opens yet; opened after the next registration. */
  early: Opening | undefined;

  held: Map<string, Held>;
  /** Generations of what is held as the newest bundle numbers them, where the content stayed as it was. */
  generations: Map<string, number>;
  /** Per provider: the end of which has been warned that it is near. */
  warned: Map<string, MonoMs>;
  /** Providers of the accepted bundle. */
  expected: readonly string[];
  bundleAt: MonoMs | undefined;

  receivers: Map<string, ReceiverState>;

  /** The version whose outcome an answered write has recorded, and the write under way. */
  persisted: Version;
  persistedTicket: string | undefined;
  persisting:
    | { readonly attempt: number; readonly highest: Version; readonly ticket: string | undefined }
    | undefined;

  /** What was acked last: version and outcomes as text; `complete` when nothing had failed. */
  acked:
    | { readonly outcome: string; readonly version: Version; readonly complete: boolean }
    | undefined;

  beatAt: MonoMs | undefined;
  /** After a report that did not leave: no other before this, or before the next connection. */
  reportsAt: MonoMs;

  /** Generations that were demanded already, and demands that wait for the connection. */
  demanded: Map<string, number>;
  demands: Map<string, number>;

  lastNotice: { readonly term: number; readonly sequence: number };
  refused: Map<ErrorCode, number>;
}

export interface Opening {
  readonly sealed: Uint8Array;
  readonly arrivedAt: MonoMs;
  /** It has waited for a registration before: it does not ask for another. */
  readonly waited?: boolean;
  /** What it is being opened with. */
  readonly membership?: Secret<Membership>;
}

/** Where the parts of the machine put what they want done. */
export type Out = AgentEffect[];

export function initialState(settings: AgentSettings): AgentState {
  const state: AgentState = {
    settings,
    attempts: 0,
    sequence: 0,
    connected: false,
    membership: undefined,
    ticket: settings.ticket,
    joining: "wanted",
    registerAt: 0 as MonoMs,
    registering: undefined,
    registerFailures: 0,
    notJoined: undefined,
    keyWantedAt: 0 as MonoMs,
    beatMs: settings.timings.beat,
    minimum: settings.highest,
    accepted: undefined,
    clock: undefined,
    offset: undefined,
    remeasure: false,
    partedAfter: 0,
    opening: new Map(),
    early: undefined,
    held: new Map(),
    generations: new Map(),
    warned: new Map(),
    expected: [],
    bundleAt: undefined,
    receivers: new Map(),
    persisted: settings.highest,
    persistedTicket: settings.ticket,
    persisting: undefined,
    acked: undefined,
    beatAt: undefined,
    reportsAt: 0 as MonoMs,
    demanded: new Map(),
    demands: new Map(),
    lastNotice: { term: 0, sequence: 0 },
    refused: new Map(),
  };
  for (const spec of settings.receivers) addReceiver(state, spec);
  return state;
}

/** Adds a receiver. Two of one kind and provider (on two ports, say) are told apart by their ids. */
export function addReceiver(state: AgentState, spec: ReceiverSpec): void {
  const id = receiverIdOf(spec, (taken) => state.receivers.has(taken));
  state.receivers.set(id, {
    id,
    spec,
    started: false,
    serving: undefined,
    took: 0 as DurationMs,
    errand: undefined,
    failed: undefined,
    failures: 0,
    retryAt: undefined,
  });
}

/** A number in [0, 1) that is this agent's own for each purpose. */
export const purposeOf = (
  state: AgentState,
  ...purpose: readonly (string | number)[]
): readonly (string | number)[] => [state.settings.agent, state.settings.instance, ...purpose];

export function countRefused(state: AgentState, code: ErrorCode, out: Out): void {
  state.refused.set(code, (state.refused.get(code) ?? 0) + 1);
  out.push({ kind: "tell", news: { kind: "refused", code } });
}

/** The generation of what is held for a provider, 0 when nothing is. */
export function generationOf(state: AgentState, provider: string): number {
  const held = state.held.get(provider);
  if (held === undefined) return 0;
  return state.generations.get(provider) ?? held.credential.generation;
}

/** Whether it still takes part: neither banned nor at the end of the job. */
export const takesPart = ({ joining }: AgentState): boolean =>
  joining !== "banned" && joining !== "ended";

/** Whether acks and demands may go out now. */
export const mayReport = (state: AgentState, now: Now): boolean =>
  state.connected && takesPart(state) && state.reportsAt <= now.mono;

/** The highest version that this agent has ever known. */
export function highestOf({ minimum, accepted }: AgentState): Version {
  if (accepted === undefined) return minimum;
  return accepted.term > minimum.term ||
    (accepted.term === minimum.term && accepted.generation >= minimum.generation)
    ? accepted
    : minimum;
}
