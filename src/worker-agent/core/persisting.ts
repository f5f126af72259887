/**
 * What outlives the process: the ticket and the highest version. One write at a time, the newest
 * wins. A disk that fails is told about and otherwise taken as answered: serving goes on (section 6).
 */
import { compareVersions } from "../../protocol/names.ts";
import type { AgentEvent } from "./events.ts";
import { type AgentState, highestOf, type Out } from "./state.ts";

export function onPersisted(
  state: AgentState,
  event: Extract<AgentEvent, { kind: "persisted" }>,
  out: Out,
): void {
  const written = state.persisting;
  if (written?.attempt !== event.attempt) return;
  state.persisting = undefined;
  state.persisted = written.highest;
  state.persistedTicket = written.ticket;
  if (event.code !== undefined) {
    out.push({ kind: "tell", news: { kind: "unpersisted", code: event.code } });
  }
}

export function advancePersisting(state: AgentState, out: Out): void {
  if (!state.settings.persistent || state.persisting !== undefined) return;
  const highest = highestOf(state);
  const { ticket } = state;
  if (compareVersions(highest, state.persisted) <= 0 && ticket === state.persistedTicket) return;
  state.attempts += 1;
  const attempt = state.attempts;
  state.persisting = { attempt, highest, ticket };
  out.push({ kind: "persist", attempt, ticket, highest });
}
