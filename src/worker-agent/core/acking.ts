/**
 * Acks: one per bundle version, when every receiver that it concerns has proved or failed it, and
 * another when that outcome changes (a failed receiver heals). What was sent is remembered as text
 * and compared, so a repeat is sent only when somebody asks for it by forgetting it.
 */
import { compareVersions, type Version } from "../../protocol/names.ts";
import type { ReceiverResult } from "../../protocol/report.ts";
import type { Now } from "../../protocol/time.ts";
import type { AgentEvent } from "./events.ts";
import { type AgentState, generationOf, mayReport, type Out, type ReceiverState } from "./state.ts";

type Of<Kind extends AgentEvent["kind"]> = Extract<AgentEvent, { kind: Kind }>;

export function advanceAcking(state: AgentState, now: Now, out: Out): void {
  const { accepted, membership, settings } = state;
  if (accepted === undefined || membership === undefined || !mayReport(state, now)) return;
  // An ack promises that a restart won't fall behind it.
  if (settings.persistent && compareVersions(state.persisted, accepted) < 0) return;
  const results = resultsOf(state, now);
  if (results === undefined) return;
  const outcome = outcomeOf(accepted, results);
  const { acked } = state;
  if (acked !== undefined && compareVersions(acked.version, accepted) === 0) {
    // What was once applied stays acked: its expiry later on is no news about this version.
    if (acked.complete || acked.outcome === outcome) return;
  }
  const complete = results.every((result) => result.outcome === "applied");
  state.acked = { outcome, version: accepted, complete };
  state.sequence += 1;
  out.push({
    kind: "report",
    membership,
    report: {
      v: 1,
      type: "ack",
      agent: settings.agent,
      instance: settings.instance,
      sequence: state.sequence,
      ...accepted,
      results,
    },
  });
}

/** A report that did not leave is as good as unsent. */
export function forgetAck(state: AgentState, { report }: Of<"unreported">): void {
  if (report.type === "ack") state.acked = undefined;
}

/** The results of all receivers that the accepted bundle concerns; undefined while one is at work. */
function resultsOf(state: AgentState, now: Now): ReceiverResult[] | undefined {
  const concerned = new Set(state.expected);
  const results: ReceiverResult[] = [];
  for (const receiver of state.receivers.values()) {
    if (!concerned.has(receiver.spec.provider)) continue;
    const result = resultOf(state, receiver, now);
    if (result === undefined) return undefined;
    results.push(result);
  }
  return results;
}

function resultOf(
  state: AgentState,
  receiver: ReceiverState,
  now: Now,
): ReceiverResult | undefined {
  const { spec, serving, errand, failed } = receiver;
  const target = state.held.get(spec.provider);
  const head = { provider: spec.provider, kind: spec.kind };
  if (target !== undefined && serving === target) {
    // The target's own generation: a receiver does not re-run for a number alone.
    const generation = generationOf(state, spec.provider);
    return { ...head, generation, outcome: "applied", tookMs: receiver.took };
  }
  const generation = serving?.credential.generation ?? 0;
  const overdue = errand !== undefined && errand.overdueAt <= now.mono;
  if (overdue) {
    return { ...head, generation, outcome: "failed", code: "RECEIVER_FAILED", tookMs: 0 };
  }
  // A retry under way changes nothing yet. A failure counts while it is about what is wanted now.
  const about = failed?.errand;
  const current = about !== undefined && (about.what === "start" || about.held === target);
  if (failed !== undefined && current) {
    return { ...head, generation, outcome: "failed", code: failed.code, tookMs: 0 };
  }
  // Nothing to serve: all that was sent had expired. Not this receiver's failure, but not applied.
  if (target === undefined && errand === undefined) {
    return { ...head, generation: 0, outcome: "failed", code: "MESSAGE_EXPIRED", tookMs: 0 };
  }
  return undefined;
}

function outcomeOf({ term, generation }: Version, results: readonly ReceiverResult[]): string {
  let words = `${term}.${generation}`;
  for (const r of results) words += ` ${r.kind}/${r.provider}=${r.outcome}:${r.generation}`;
  return words;
}
