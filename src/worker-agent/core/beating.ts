/** Beats: that this agent lives, what it holds and how long that lasts. */
import { later, type MonoMs, type Now } from "../../protocol/time.ts";
import { failingOf, refusedOf, runwaysOf } from "./health.ts";
import { type AgentState, type Out, takesPart } from "./state.ts";

export function advanceBeating(state: AgentState, now: Now, out: Out): void {
  const { membership, settings, beatAt } = state;
  if (membership === undefined || beatAt === undefined || !state.connected) return;
  if (!takesPart(state) || beatAt > now.mono) return;
  state.beatAt = later(now.mono, state.beatMs);
  state.sequence += 1;
  const kid = membership.reveal().groups[0]?.kid;
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
      runwayMs: runwaysOf(state, now),
      failing: failingOf(state),
      refused: refusedOf(state),
    },
  });
}

export const beatingDeadline = (state: AgentState): MonoMs | undefined =>
  state.membership !== undefined && state.connected && takesPart(state) ? state.beatAt : undefined;
