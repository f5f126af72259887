/**
 * Registration: when to ask, and what an answer means. The ladder never ends: a join token that is
 * refused today is a fresh one in the join file tomorrow, which is read again at each attempt. Only
 * a ban and the end of the job stop it, and neither stops the serving of what is held.
 */
import { durationMs, epochMs, later, type MonoMs, monoMs, type Now } from "../../protocol/time.ts";
import {
  coordinatorNow,
  measureAgain,
  moveClockForward,
  setClock,
  skewOf,
} from "./clock-estimate.ts";
import type { AgentEvent } from "./events.ts";
import { raiseMinimum } from "./order.ts";
import { sameBytes } from "./sameness.ts";
import { unitHash, waitOf } from "./settings.ts";
import { type AgentState, highestOf, type Opening, type Out, purposeOf } from "./state.ts";

type Of<Kind extends AgentEvent["kind"]> = Extract<AgentEvent, { kind: Kind }>;

/** Wants a registration at `at`, or sooner if one is wanted sooner already. */
export function wantRegistration(state: AgentState, at: MonoMs): void {
  if (state.joining === "banned" || state.joining === "ended" || state.joining === "asking") return;
  if (state.joining === "wanted" && state.registerAt <= at) return;
  state.joining = "wanted";
  state.registerAt = at;
}

/**
 * Somebody signs or seals under a key that we were not given yet: ask for it, spread out, since all
 * agents meet it at once, but never as fast as somebody can play such messages to us.
 */
export function wantKeys(state: AgentState, now: Now): void {
  const unit = unitHash(...purposeOf(state, "keys", state.attempts));
  const soon = later(now.mono, durationMs(state.settings.timings.registerSpread * unit));
  wantRegistration(state, monoMs(Math.max(soon, state.keyWantedAt)));
  state.keyWantedAt = later(now.mono, state.settings.timings.registerRetry.last);
}

export function onRegistered(state: AgentState, event: Of<"registered">, now: Now, out: Out): void {
  const asked = state.registering;
  if (asked?.attempt !== event.attempt) return;
  state.registering = undefined;
  if (state.joining === "asking") state.joining = "member";
  state.registerFailures = 0;
  state.notJoined = undefined;
  state.membership = event.membership;
  state.ticket = event.ticket;
  state.beatMs = durationMs(event.beatMs);
  // The first beat comes somewhere in the first interval, so that a thousand agents spread out.
  state.beatAt = later(now.mono, durationMs(event.beatMs * unitHash(...purposeOf(state, "beat"))));
  measure(state, event, asked, now, out);
  raiseMinimum(state, { term: event.term, generation: event.generation });
  // What came while no key of ours opened it: the new keys may.
  const { early } = state;
  state.early = undefined;
  if (event.sealed !== undefined) {
    openSealed(state, { sealed: event.sealed, arrivedAt: now.mono }, now, out);
  }
  if (early !== undefined) openSealed(state, { ...early, waited: true }, now, out);
  const news = { kind: "joined", term: event.term, skew: skewOf(state, now) } as const;
  out.push({ kind: "tell", news });
}

function measure(
  state: AgentState,
  { timeMs }: Of<"registered">,
  asked: NonNullable<AgentState["registering"]>,
  now: Now,
  out: Out,
): void {
  if (state.remeasure && asked.attempt <= state.partedAfter) {
    // The clocks parted while it was under way, so its way can't be measured: ask once more.
    moveClockForward(state, epochMs(timeMs), now);
    wantRegistration(state, now.mono);
    return;
  }
  setClock(state, timeMs, asked.sentAt, now);
  if (state.remeasure) measureAgain(state, now, out);
}

export function onUnregistered(
  state: AgentState,
  event: Of<"unregistered">,
  now: Now,
  out: Out,
): void {
  if (state.registering?.attempt !== event.attempt) return;
  state.registering = undefined;
  state.notJoined = event.code;
  const final = event.byCoordinator && event.code === "AGENT_BANNED";
  out.push({ kind: "tell", news: { kind: "not-joined", code: event.code, final } });
  if (state.joining !== "asking") return;
  state.joining = final ? "banned" : "wanted";
  if (event.byCoordinator && event.code === "JOIN_TOKEN_INVALID") {
    // A ticket that the job no longer knows is worth nothing: next time the token speaks.
    state.ticket = undefined;
  }
  state.registerFailures += 1;
  const unit = unitHash(...purposeOf(state, "register", state.registerFailures));
  state.registerAt = later(
    now.mono,
    waitOf(state.settings.timings.registerRetry, state.registerFailures, unit),
  );
}

export function advanceJoining(state: AgentState, now: Now, out: Out): void {
  if (state.joining !== "wanted" || !state.connected || state.registerAt > now.mono) return;
  state.attempts += 1;
  state.joining = "asking";
  state.registering = { attempt: state.attempts, sentAt: now.mono };
  out.push({
    kind: "register",
    attempt: state.attempts,
    ticket: state.ticket,
    highest: highestOf(state),
    receivers: [...state.receivers.values()].map(({ spec }) => spec),
  });
}

export const joiningDeadline = (state: AgentState): MonoMs | undefined =>
  state.joining === "wanted" && state.connected ? state.registerAt : undefined;

/** Hands a sealed bundle to the opener; keeps it for after the registration while there is no key. */
export function openSealed(
  state: AgentState,
  opening: Omit<Opening, "membership">,
  now: Now,
  out: Out,
): void {
  if (state.membership === undefined) {
    state.early = opening;
    // Somebody publishes for this job, so there is a coordinator: no need to climb the ladder. But
    // anybody may be made to publish nonsense, so this shortens a wait only once in a while.
    if (state.joining === "wanted" && state.keyWantedAt <= now.mono) {
      wantKeys(state, now);
    }
    return;
  }
  // It was sent again because we are slow: to open it twice would make us slower.
  if (isOpening(state, opening.sealed)) return;
  state.attempts += 1;
  state.opening.set(state.attempts, { ...opening, membership: state.membership });
  out.push({
    kind: "open",
    attempt: state.attempts,
    sealed: opening.sealed,
    membership: state.membership,
    now: coordinatorNow(state, now),
    floor: highestOf(state),
  });
}

/** With the keys of today, and the clock that came with them: what was begun before may fail. */
function isOpening({ opening, membership }: AgentState, sealed: Uint8Array): boolean {
  for (const other of opening.values()) {
    if (other.membership === membership && sameBytes(other.sealed, sealed)) return true;
  }
  return false;
}
