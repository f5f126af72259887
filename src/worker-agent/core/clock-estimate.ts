/**
 * The coordinator's clock, as this agent counts it (design, section 4, "Clocks"). A register reply
 * sets it; a bundle's `sealedAt` can only move it forward; in between it counts on the monotonic
 * clock. It refuses to believe this machine's wall clock, once a coordinator has been heard.
 */
import { expiryOnCoordinatorClock } from "../../protocol/credential.ts";
import {
  between,
  type DurationMs,
  durationMs,
  type EpochMs,
  epochMs,
  later,
  type MonoMs,
  type Now,
} from "../../protocol/time.ts";
import type { Held } from "./events.ts";
import type { AgentState, Out } from "./state.ts";

export function coordinatorNow(state: AgentState, now: Now): EpochMs {
  if (state.clock === undefined) return now.wall;
  return later(state.clock.coordinator, between(state.clock.at, now.mono));
}

/**
 * Sets the clock from a reply whose nonce is ours. The reply was stamped somewhere between our
 * request and its arrival; the latest moment it can mean is taken, so that an estimate is never
 * behind the truth, however long this process or the network slept in between (I2).
 */
export function setClock(state: AgentState, timeMs: number, sentAt: MonoMs, now: Now): void {
  const coordinator = later(epochMs(timeMs), between(sentAt, now.mono));
  state.clock = { coordinator, at: now.mono };
}

/** A bundle was sealed at `sealedAt`, so it is at least that late. */
export function moveClockForward(state: AgentState, sealedAt: EpochMs, now: Now): void {
  if (sealedAt > coordinatorNow(state, now) || state.clock === undefined) {
    state.clock = { coordinator: sealedAt, at: now.mono };
  }
}

/** This machine's wall clock less the coordinator's. */
export const skewOf = (state: AgentState, now: Now): DurationMs =>
  between(coordinatorNow(state, now), now.wall);

/** When the credential ends here. Fixed once, at receipt. */
export function deadlineOf(state: AgentState, credential: Held["credential"], now: Now): MonoMs {
  const remaining = between(coordinatorNow(state, now), expiryOnCoordinatorClock(credential));
  return later(now.mono, remaining);
}

/**
 * Notices that wall and monotonic clock have parted: the wall was stepped, or the machine slept
 * while its monotonic clock stood still. Which of them can't be told here, so what is held is
 * measured again at the next registration, which is wanted at once.
 */
export function compareClocks(state: AgentState, now: Now, out: Out): void {
  const offset = now.wall - now.mono;
  const before = state.offset;
  if (before === undefined) {
    state.offset = offset;
    return;
  }
  const by = durationMs(offset - before);
  if (Math.abs(by) <= state.settings.timings.parted) return;
  state.offset = offset;
  out.push({ kind: "tell", news: { kind: "clocks-parted", by } });
  if (state.clock === undefined) return;
  state.remeasure = true;
  state.partedAfter = state.attempts;
  if (state.joining === "member") {
    state.joining = "wanted";
    state.registerAt = now.mono;
  }
}

/** Shortens, never lengthens, the lives that turn out to have been counted too slowly (I2). */
export function measureAgain(state: AgentState, now: Now, out: Out): void {
  state.remeasure = false;
  for (const [provider, held] of state.held) {
    const until = deadlineOf(state, held.credential, now);
    const by = between(until, held.until);
    // A reply's way here makes a difference of its own; only a real one is worth another apply.
    if (by <= state.settings.timings.parted) continue;
    state.held.set(provider, { ...held, until });
    out.push({ kind: "tell", news: { kind: "shortened", provider, by } });
  }
}
