/**
 * Beats: that this agent lives, what it holds and how long that lasts. A beat that shows an old
 * version is answered with the current bundle, so beating is also how an agent catches up.
 */
import { compareVersions } from "../../protocol/names.ts";
import { durationMs, later, type MonoMs, monoMs, type Now } from "../../protocol/time.ts";
import { failingOf, refusedOf, runwaysOf } from "./health.ts";
import { unitHash } from "./settings.ts";
import { type AgentState, type Out, purposeOf, takesPart } from "./state.ts";

/**
 * Anti-entropy: core NATS forgets what nobody heard, so the agent beats early after every reconnect.
 * Spread out, whatever has come due meanwhile: a thousand agents see the same server come back.
 */
export function beatSoon(state: AgentState, now: Now): void {
  const { beatAt, settings } = state;
  const unit = unitHash(...purposeOf(state, "catch-up", state.sequence));
  const soon = later(now.mono, durationMs(settings.timings.catchUpSpread * unit));
  state.beatAt = beatAt === undefined || beatAt <= now.mono ? soon : monoMs(Math.min(beatAt, soon));
}

export function advanceBeating(state: AgentState, now: Now, out: Out): void {
  const { membership, beatAt } = state;
  if (membership === undefined || beatAt === undefined || !state.connected) return;
  if (!takesPart(state) || beatAt > now.mono) return;
  state.beatAt = later(now.mono, state.beatMs);
  beat(state, membership, now, out);
}

/** It is being stopped: a last beat, so that no rotation waits until it counts as lost. */
export function sayGoodbye(state: AgentState, now: Now, out: Out): void {
  if (state.membership === undefined || !state.connected || !takesPart(state)) return;
  beat(state, state.membership, now, out, { leaving: true });
}

function beat(
  state: AgentState,
  membership: NonNullable<AgentState["membership"]>,
  now: Now,
  out: Out,
  more: { readonly leaving?: true } = {},
): void {
  const { settings } = state;
  state.sequence += 1;
  const kid = membership.reveal().groups[0]?.kid;
  const { acked, accepted } = state;
  const current = accepted !== undefined && acked !== undefined;
  out.push({
    kind: "report",
    membership,
    report: {
      v: 1,
      type: "beat",
      agent: settings.agent,
      instance: settings.instance,
      sequence: state.sequence,
      term: state.accepted?.term ?? 0,
      generation: state.accepted?.generation ?? 0,
      ...(kid === undefined ? {} : { kid }),
      applied: current && acked.complete && compareVersions(acked.version, accepted) === 0,
      runwayMs: runwaysOf(state, now),
      failing: failingOf(state),
      refused: refusedOf(state),
      ...more,
    },
  });
}

export const beatingDeadline = (state: AgentState): MonoMs | undefined =>
  state.membership !== undefined && state.connected && takesPart(state) ? state.beatAt : undefined;
