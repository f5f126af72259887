/** What one agent is and how fast it moves: fixed at its start. Everything here is plain data. */
import type { Version } from "../../protocol/names.ts";
import { type DurationMs, durationMs, seconds } from "../../protocol/time.ts";

/** A ladder of waits: the first, doubling up to the last. */
export interface Ladder {
  readonly first: DurationMs;
  readonly last: DurationMs;
}

/** Every interval of the agent, so that a test with short-lived credentials scales all of them. */
export interface AgentTimings {
  /** Between attempts to register. Default 1 s doubling to 30 s, +-20 %. */
  readonly registerRetry: Ladder;
  /** Between attempts at a receiver that failed. Default 1 s doubling to 30 s, +-20 %. */
  readonly receiverRetry: Ladder;
  /** After a reconnect, agents beat spread over this time, to be sent what they missed. Default 5 s. */
  readonly catchUpSpread: DurationMs;
  /** After a rekey, agents register spread over this time. Default 1 s. */
  readonly registerSpread: DurationMs;
  /** Used until a registration names another. Default 15 s. */
  readonly beat: DurationMs;
  /** A receiver that has not answered for this long counts as failed in the ack. Default 60 s. */
  readonly receiverTimeout: DurationMs;
  /** Wall and monotonic clock have parted when they differ by more than this. Default 2 s. */
  readonly parted: DurationMs;
}

export const DEFAULT_TIMINGS: AgentTimings = {
  registerRetry: { first: seconds(1), last: seconds(30) },
  receiverRetry: { first: seconds(1), last: seconds(30) },
  catchUpSpread: seconds(5),
  registerSpread: seconds(1),
  beat: seconds(15),
  receiverTimeout: seconds(60),
  parted: seconds(2),
};

/** One receiver that the configuration asks for. */
export interface ReceiverSpec {
  readonly kind: string;
  readonly provider: string;
}

/** `kind/provider`; the second and later ones of the same get a number, in the order of the configuration. */
export function receiverIdOf(
  { kind, provider }: ReceiverSpec,
  taken: (id: string) => boolean,
): string {
  const name = `${kind}/${provider}`;
  let id = name;
  for (let number = 2; taken(id); number += 1) id = `${name}#${number}`;
  return id;
}

/** A receiver that serves a provider without being asked for by name. */
export interface ConventionSpec {
  readonly kind: string;
  /** Kinds of credential; `*` for any. */
  readonly serves: readonly string[];
}

export interface AgentSettings {
  readonly agent: string;
  /** Random in each process. */
  readonly instance: string;
  /** The configured receivers. */
  readonly receivers: readonly ReceiverSpec[];
  /** Receivers that are made for each provider that turns up in a bundle. */
  readonly convention: readonly ConventionSpec[];
  /** Providers that must be there before the agent is ready, besides those of receivers and bundle. */
  readonly providers: readonly string[];
  /** Whether there is a state folder: then nothing is applied before its version is on disk (I1). */
  readonly persistent: boolean;
  /** From the state folder: the membership ticket and the highest version of an earlier process. */
  readonly ticket: string | undefined;
  readonly highest: Version;
  readonly timings: AgentTimings;
}

/** 32-bit FNV-1a as a number in [0, 1): spreads a thousand agents out, the same way at each replay. */
export function unitHash(...parts: readonly (string | number)[]): number {
  let hash = 0x811c9dc5;
  for (const char of parts.join("\0")) {
    hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  }
  // FNV's high bits move little on short inputs: fold and mix once (the finaliser of murmur3).
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/** The wait before attempt `failures + 1`, at least 1 ms. `unit` in [0, 1) moves it by +-20 %. */
export function waitOf(ladder: Ladder, failures: number, unit: number): DurationMs {
  const doubled = ladder.first * 2 ** Math.min(Math.max(failures, 1) - 1, 30);
  return durationMs(Math.max(1, Math.min(doubled, ladder.last) * (0.8 + 0.4 * unit)));
}
