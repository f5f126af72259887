/**
 * Anti-entropy: core NATS forgets what nobody heard, so the agent pulls the stored bundle after
 * every reconnect, spread out, and again while its own runway is low and nothing has come.
 */
import { durationMs, later, type MonoMs, monoMs, type Now } from "../../protocol/time.ts";
import type { AgentEvent } from "./events.ts";
import { lifeOf } from "./holding.ts";
import { openSealed } from "./joining.ts";
import { unitHash, waitOf } from "./settings.ts";
import { type AgentState, type Out, purposeOf, takesPart } from "./state.ts";

type Of<Kind extends AgentEvent["kind"]> = Extract<AgentEvent, { kind: Kind }>;

/** Wants a pull at `at`, or sooner if one is wanted sooner already. */
export function wantPull(state: AgentState, at: MonoMs): void {
  if (state.pullAt === undefined || at < state.pullAt) state.pullAt = at;
}

/** Some time within the spread: a thousand agents see the same server come back. */
export function pullSoon(state: AgentState, now: Now): void {
  const unit = unitHash(...purposeOf(state, "pull", state.attempts));
  const wait = durationMs(state.settings.timings.pullSpread * unit);
  wantPull(state, later(now.mono, wait));
}

export function onPulled(state: AgentState, event: Of<"pulled">, now: Now, out: Out): void {
  if (state.pulling !== event.attempt) return;
  state.pulling = undefined;
  state.pullFailures = 0;
  if (event.sealed === undefined) return;
  openSealed(state, { sealed: event.sealed, source: "pull", arrivedAt: now.mono }, now, out);
}

export function onUnpulled(state: AgentState, event: Of<"unpulled">, now: Now): void {
  if (state.pulling !== event.attempt) return;
  state.pulling = undefined;
  state.pullFailures += 1;
  const unit = unitHash(...purposeOf(state, "pull-retry", state.pullFailures));
  wantPull(
    state,
    later(now.mono, waitOf(state.settings.timings.pullRetry, state.pullFailures, unit)),
  );
}

/** Without a key there is nothing to open; the registration brings the bundle itself. */
const mayPull = (state: AgentState): boolean =>
  state.connected &&
  state.membership !== undefined &&
  state.pulling === undefined &&
  takesPart(state);

export function advanceCatchingUp(state: AgentState, now: Now, out: Out): void {
  if (!mayPull(state)) return;
  const low = lowRunwayAt(state);
  if (low !== undefined && low <= now.mono) {
    wantPull(state, now.mono);
    const unit = unitHash(...purposeOf(state, "low", state.attempts));
    state.lowPullAt = later(now.mono, durationMs(Math.max(1, state.beatMs * (0.8 + 0.4 * unit))));
  }
  if (state.pullAt === undefined || state.pullAt > now.mono) return;
  state.pullAt = undefined;
  state.attempts += 1;
  state.pulling = state.attempts;
  out.push({ kind: "pull", attempt: state.attempts });
}

/** When the first runway is low and news are overdue; undefined when nothing is held. */
function lowRunwayAt(state: AgentState): MonoMs | undefined {
  let first: number | undefined;
  for (const held of state.held.values()) {
    const low = held.until - state.settings.timings.lowRunway * lifeOf(held);
    if (first === undefined || low < first) first = low;
  }
  if (first === undefined) return undefined;
  const news = state.bundleAt === undefined ? 0 : state.bundleAt + state.beatMs;
  return monoMs(Math.max(first, state.lowPullAt, news));
}

export function catchingUpDeadline(state: AgentState): MonoMs | undefined {
  if (!mayPull(state)) return undefined;
  const low = lowRunwayAt(state);
  if (low === undefined) return state.pullAt;
  return state.pullAt === undefined ? low : monoMs(Math.min(low, state.pullAt));
}
