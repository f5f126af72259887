/** Notices from the coordinator: genuine by signature (the link's matter), fresh by term and sequence. */
import { durationMs, later, type Now } from "../../protocol/time.ts";
import type { AgentEvent } from "./events.ts";
import { wantRegistration } from "./joining.ts";
import { unitHash } from "./settings.ts";
import { type AgentState, countRefused, highestOf, type Out, purposeOf } from "./state.ts";

export function onNotice(
  state: AgentState,
  { notice }: Extract<AgentEvent, { kind: "notice" }>,
  now: Now,
  out: Out,
): void {
  const last = state.lastNotice;
  const { term, sequence } = notice;
  const stale =
    term < highestOf(state).term ||
    term < last.term ||
    (term === last.term && sequence <= last.sequence);
  if (stale) {
    countRefused(state, "MESSAGE_REPLAYED", out);
    return;
  }
  state.lastNotice = { term, sequence };
  switch (notice.what.kind) {
    case "report":
      state.beatAt = now.mono;
      return;
    case "rekey": {
      const { kid } = notice.what;
      if (state.membership?.reveal().groups.some((group) => group.kid === kid)) return;
      const unit = unitHash(...purposeOf(state, "rekey", sequence));
      const wait = durationMs(state.settings.timings.registerSpread * unit);
      wantRegistration(state, later(now.mono, wait));
      return;
    }
    case "goodbye":
      state.joining = "ended";
      out.push({ kind: "tell", news: { kind: "ended" } });
  }
}
