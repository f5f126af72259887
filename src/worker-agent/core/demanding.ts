/**
 * Demands: a consumer's credential was rejected before its time. At most one per generation: a
 * thousand tasks that fail at once ask once. What is already replaced is not asked for at all.
 */
import type { Now } from "../../protocol/time.ts";
import type { AgentEvent } from "./events.ts";
import { type AgentState, generationOf, mayReport, type Out } from "./state.ts";

type Of<Kind extends AgentEvent["kind"]> = Extract<AgentEvent, { kind: Kind }>;

export function onDemand(state: AgentState, { provider, rejected }: Of<"demand">): void {
  const current = generationOf(state, provider);
  const seen = state.held.get(provider)?.credential.generation ?? 0;
  if (rejected !== current && rejected !== seen) return;
  if (state.demanded.get(provider) === current) return;
  state.demanded.set(provider, current);
  state.demands.set(provider, current);
}

/** A demand that did not leave waits for the next connection. */
export function demandAgain(state: AgentState, { report }: Of<"unreported">): void {
  if (report.type === "demand") state.demands.set(report.provider, report.rejected);
}

export function advanceDemanding(state: AgentState, now: Now, out: Out): void {
  const { membership, settings } = state;
  if (membership === undefined || !mayReport(state, now)) return;
  for (const [provider, rejected] of state.demands) {
    state.demands.delete(provider);
    // Something newer has come while it waited.
    if (rejected !== generationOf(state, provider)) continue;
    state.sequence += 1;
    out.push({
      kind: "report",
      membership,
      report: {
        v: 1,
        type: "demand",
        agent: settings.agent,
        instance: settings.instance,
        sequence: state.sequence,
        term: state.accepted?.term ?? 0,
        generation: state.accepted?.generation ?? 0,
        provider,
        rejected,
      },
    });
  }
}
