/**
 * Instants and durations as distinct types, and the two things that every loop must be handed:
 * a clock and a source of chance. This file owns the words; it refuses to read any real clock
 * (src/runtime/ does that).
 */

/** Milliseconds since 1970-01-01T00:00:00Z on somebody's wall clock. May step. */
export type EpochMs = number & { readonly __unit: "epoch-ms" };

/** A length of time in milliseconds. */
export type DurationMs = number & { readonly __unit: "duration-ms" };

/** Milliseconds on this process's monotonic clock. Never steps, means nothing to another machine. */
export type MonoMs = number & { readonly __unit: "mono-ms" };

export const epochMs = (value: number): EpochMs => value as EpochMs;
export const durationMs = (value: number): DurationMs => value as DurationMs;
export const monoMs = (value: number): MonoMs => value as MonoMs;

/** Seconds (configuration, JWT claims, issuers) to milliseconds. */
export const seconds = (value: number): DurationMs => durationMs(value * 1000);

/** Moves an instant, on either kind of clock. A negative duration moves it back. */
export function later<T extends EpochMs | MonoMs>(instant: T, by: DurationMs): T {
  return (instant + by) as T;
}

/** `to - from` on the same clock; negative when `to` lies before `from`. */
export function between<T extends EpochMs | MonoMs>(from: T, to: T): DurationMs {
  return durationMs(to - from);
}

/** RFC 3339 in UTC without a fraction, rounded down: the one form that every AWS SDK accepts. */
export function toRfc3339(instant: EpochMs): string {
  return `${new Date(instant).toISOString().slice(0, 19)}Z`;
}

/** One reading of both clocks, taken at the same moment. */
export interface Now {
  /** For what is shown or compared with an issuer's instants. */
  readonly wall: EpochMs;
  /** For intervals, leases and deadlines. */
  readonly mono: MonoMs;
}

/** Stops a timer. Calling it twice, or after the timer has fired, does nothing. */
export type CancelTimer = () => void;

/** Time as an argument. The system's one lives in src/runtime/, tests bring their own. */
export interface Clock {
  now(): Now;
  /**
   * Calls `fire` once, `delay` (at least 0, any length) from now on the monotonic clock.
   * A pending timer does not keep the process alive when `background` is true (default false).
   */
  timer(delay: DurationMs, fire: () => void, background?: boolean): CancelTimer;
}

/** Chance as an argument. */
export interface Random {
  /** `length` bytes, fit for keys. */
  bytes(length: number): Uint8Array;
  /** Uniform in [0, 1). Not for keys. */
  unit(): number;
}
