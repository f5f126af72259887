/**
 * I1: an agent never applies a lower (term, generation) than it has applied. This file keeps it:
 * nothing gets past `judge` but what is at or above the minimum (a register reply, an earlier
 * process) and strictly above what was accepted.
 */
import { compareVersions, type Version } from "../../protocol/names.ts";
import type { AgentState } from "./state.ts";

export type Judgement = "newer" | "repeat" | "older";

export function judge(state: AgentState, version: Version): Judgement {
  if (compareVersions(version, state.minimum) < 0) return "older";
  if (state.accepted === undefined) return "newer";
  const order = compareVersions(version, state.accepted);
  if (order === 0) return "repeat";
  return order > 0 ? "newer" : "older";
}

/** Nothing below `version` is taken any more. A lower one changes nothing. */
export function raiseMinimum(state: AgentState, version: Version): void {
  if (compareVersions(version, state.minimum) > 0) state.minimum = version;
}
