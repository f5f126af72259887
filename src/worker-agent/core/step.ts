/**
 * The worker agent as a level-triggered machine. An event only writes down what has happened; then
 * `advance` looks at the whole state and asks for everything that is due, until nothing is (the
 * fixpoint), so that no order of events can leave something undone. No clock, no chance, no I/O:
 * the same events at the same times lead to the same effects.
 *
 *   joining:   wanted -> asking -> member -> wanted (rekey, unknown key, parted clocks)
 *              asking -> wanted (refused or unanswered, on a ladder) | banned; any -> ended (goodbye)
 *   receiver:  new -> starting -> started; then per errand: apply or withdraw -> proved | failed
 */
import { later, type MonoMs, type Now } from "../../protocol/time.ts";
import { advanceAcking, forgetAck } from "./acking.ts";
import { advanceBeating, beatingDeadline, beatSoon, sayGoodbye } from "./beating.ts";
import { compareClocks } from "./clock-estimate.ts";
import { advanceDemanding, demandAgain, onDemand } from "./demanding.ts";
import type { AgentEffect, AgentEvent } from "./events.ts";
import { advanceHolding, holdingDeadline, onOpened, onUnopened } from "./holding.ts";
import {
  advanceJoining,
  joiningDeadline,
  onRegistered,
  onUnregistered,
  openSealed,
  wantKeys,
} from "./joining.ts";
import { onNotice } from "./noticing.ts";
import { advancePersisting, onPersisted } from "./persisting.ts";
import { advanceReceiving, onReceiver, receivingDeadline } from "./receiving.ts";
import { type AgentState, countRefused, type Out } from "./state.ts";

export interface AgentTransition {
  readonly state: AgentState;
  readonly effects: readonly AgentEffect[];
  /** The next moment at which something comes due by itself; always after `now`. */
  readonly wakeAt: MonoMs | undefined;
}

/** One event. `state` is updated in place; the caller goes on with what it gets back. */
export function step(state: AgentState, event: AgentEvent, now: Now): AgentTransition {
  const out: Out = [];
  compareClocks(state, now, out);
  // Expiry comes first: no event may see as held what has ended (I2).
  advanceHolding(state, now, out);
  hear(state, event, now, out);
  // A goodbye is the last word: nothing is begun any more, and no report may follow it.
  if (event.kind !== "leave") advance(state, now, out);
  return { state, effects: out, wakeAt: nextDeadline(state, now) };
}

function hear(state: AgentState, event: AgentEvent, now: Now, out: Out): void {
  switch (event.kind) {
    case "wake":
      return;
    case "connected":
      state.connected = true;
      state.reportsAt = now.mono;
      beatSoon(state, now);
      return;
    case "disconnected":
      state.connected = false;
      return;
    case "sealed":
      openSealed(state, { sealed: event.sealed, arrivedAt: now.mono }, now, out);
      return;
    case "opened":
      onOpened(state, event, now, out);
      return;
    case "unopened":
      onUnopened(state, event, now, out);
      return;
    case "refused":
      countRefused(state, event.code, out);
      if (event.code === "KEY_UNKNOWN") wantKeys(state, now);
      return;
    case "notice":
      onNotice(state, event, now, out);
      return;
    case "registered":
      onRegistered(state, event, now, out);
      return;
    case "unregistered":
      onUnregistered(state, event, now, out);
      return;
    case "unreported":
      forgetAck(state, event);
      demandAgain(state, event);
      // Not again at once on a connection that has just failed.
      state.reportsAt = later(now.mono, state.settings.timings.registerRetry.first);
      return;
    case "persisted":
      onPersisted(state, event, out);
      return;
    case "receiver":
      onReceiver(state, event, now, out);
      return;
    case "demand":
      onDemand(state, event);
      return;
    case "leave":
      sayGoodbye(state, now, out);
      out.push({ kind: "stop" });
  }
}

function advance(state: AgentState, now: Now, out: Out): void {
  for (let before = -1; before !== out.length; ) {
    before = out.length;
    advanceHolding(state, now, out);
    advanceJoining(state, now, out);
    advancePersisting(state, out);
    advanceReceiving(state, now, out);
    advanceAcking(state, now, out);
    advanceDemanding(state, now, out);
    advanceBeating(state, now, out);
  }
}

function nextDeadline(state: AgentState, now: Now): MonoMs | undefined {
  let next: MonoMs | undefined;
  for (const at of [
    holdingDeadline(state),
    joiningDeadline(state),
    receivingDeadline(state, now),
    beatingDeadline(state),
    state.connected && state.reportsAt > now.mono ? state.reportsAt : undefined,
  ]) {
    if (at !== undefined && (next === undefined || at < next)) next = at;
  }
  return next;
}
