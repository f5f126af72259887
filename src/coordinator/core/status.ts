/** What operators see: a projection of the state, with no secret in it. */
import type { AgentStatus, JobStatus, ProviderStatus } from "../../protocol/control.ts";
import { classOf } from "../../protocol/errors.ts";
import { compareVersions } from "../../protocol/names.ts";
import { between, type Now } from "../../protocol/time.ts";
import type { Core, Turn } from "./core.ts";
import { isLeading } from "./lease.ts";
import { type ProviderRun, recordOf, remaining } from "./provider-run.ts";
import { isPublished } from "./publisher.ts";
import type { Agent } from "./roster.ts";

export function providerStatus(turn: Turn, run: ProviderRun): ProviderStatus {
  const { core, now } = turn;
  const record = recordOf(core.writer.truth, run.settings.name);
  const credential = record?.credential;
  const runway = remaining(turn, run) ?? 0;
  const state =
    credential === undefined
      ? "none"
      : runway <= 0
        ? "expired"
        : run.failures > 0
          ? "retrying"
          : "fresh";
  return {
    provider: run.settings.name,
    kind: run.settings.kind,
    state,
    generation: credential?.generation ?? 0,
    ...(credential === undefined
      ? {}
      : {
          issuedAtMs: credential.issuedAt,
          expiresAtMs: credential.expiresAt,
          skewMs: credential.issuerSkew,
        }),
    runwayMs: Math.floor(runway),
    ...(run.next === undefined
      ? {}
      : { nextAttemptInMs: Math.max(0, Math.ceil(between(now.mono, run.next.at))) }),
    ...(run.lastError === undefined
      ? {}
      : {
          lastError: {
            code: run.lastError.code,
            class: classOf(run.lastError.code),
            message: run.lastError.message,
          },
        }),
    consecutiveFailures: run.failures,
    issuerCalls: record?.counts.calls ?? 0,
    issuerRequests: record?.counts.requests ?? 0,
  };
}

/**
 * What one answer holds, so that it fits into a message of NATS (1 MiB by default): an agent weighs some
 * hundred bytes, and as much for each of its receivers and failures.
 */
const PAGE_WEIGHT = 2000;

/** Those after `after`, by name and instance, as many as fit into one answer; `next` when there are more. */
export function agentStatuses(
  { core, now }: Turn,
  after = "",
): { readonly agents: AgentStatus[]; readonly next?: string } {
  const rest = [...core.roster.agents].filter(([key]) => key > after);
  rest.sort(([one], [other]) => (one < other ? -1 : 1));
  const agents: AgentStatus[] = [];
  let weight = 0;
  let last = after;
  for (const [key, agent] of rest) {
    weight += 2 + agent.receivers.length + Object.keys(agent.failing).length;
    if (weight > PAGE_WEIGHT && agents.length > 0) return { agents, next: last };
    agents.push(agentStatus(agent, now));
    last = key;
  }
  return { agents };
}

const agentStatus = (agent: Agent, now: Now): AgentStatus => ({
  agent: agent.agent,
  instance: agent.instance,
  state: agent.lost ? "lost" : "live",
  term: agent.held.term,
  generation: agent.held.generation,
  ...(agent.runwayMs === undefined ? {} : { runwayMs: agent.runwayMs }),
  lastHeardMs: Math.max(0, Math.floor(between(agent.lastHeard, now.mono))),
  receivers: agent.receivers.map((r) => ({ ...r })),
  failing: { ...agent.failing },
  refused: { ...agent.refused },
});

/** Why the coordinator is not ready; empty when it is. */
export function notReady(turn: Turn): string[] {
  const { core } = turn;
  const reasons: string[] = [];
  if (!isLeading(core)) {
    reasons.push(
      core.leadership.role === "waiting"
        ? "standing by: another coordinator leads"
        : core.connected
          ? `not leading yet (${core.leadership.role})`
          : "NATS is away",
    );
    const unreadable = core.warnings.get("state");
    if (unreadable !== undefined) reasons.push(unreadable);
    return reasons;
  }
  for (const run of core.providers.values()) {
    if (remaining(turn, run) !== undefined) continue;
    const error = run.lastError === undefined ? "" : `: ${run.lastError.message}`;
    const has = recordOf(core.writer.truth, run.settings.name)?.credential !== undefined;
    reasons.push(
      `${run.settings.name}: ${has ? "the credential has expired" : "no credential yet"}${error}`,
    );
  }
  if (!isPublished(turn)) reasons.push("the current bundle is not published yet");
  return reasons;
}

function countAgents(core: Core): JobStatus["agents"] {
  let live = 0;
  let lost = 0;
  let upToDate = 0;
  const { published } = core.publisher;
  for (const agent of core.roster.agents.values()) {
    if (agent.lost) lost += 1;
    else {
      live += 1;
      if (published === undefined || compareVersions(agent.held, published) >= 0) upToDate += 1;
    }
  }
  return { live, lost, upToDate };
}

export function jobStatus(turn: Turn): JobStatus {
  const { core } = turn;
  const reasons = notReady(turn);
  return {
    ...core.settings.id,
    phase: core.leadership.role,
    term: core.leadership.term,
    generation: core.writer.committed?.generation ?? 0,
    ready: reasons.length === 0,
    reasons,
    providers: [...core.providers.values()].map((run) => providerStatus(turn, run)),
    agents: countAgents(core),
    rotations: core.rotations.all(),
    refused: Object.fromEntries(core.refused),
    warnings: [...core.warnings.values()],
  };
}
