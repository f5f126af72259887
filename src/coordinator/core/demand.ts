/**
 * Demand: an operator forces a rotation, or an agent's consumer was refused. Requests coalesce, a
 * cooldown keeps them from hammering the issuer, and none ever postpones an earlier renewal.
 */
import type { Version } from "../../protocol/names.ts";
import { between, type DurationMs, durationMs } from "../../protocol/time.ts";
import { log, plus, type Turn } from "./core.ts";
import { type ProviderRun, recordOf, remaining } from "./provider-run.ts";
import { CALL_WINDOW, MAX_CALLS, SKEW_WARNING } from "./settings.ts";

/** Somebody wants a new credential. Requests coalesce; an earlier plan stays as it is. */
export function demandNew(run: ProviderRun, reason: "forced" | "demand"): void {
  if (run.demand?.reason !== "forced") run.demand = { reason };
}

/** An agent's consumer was refused, or it has none. One demand per agent and generation counts. */
export function onAgentDemand(turn: Turn, agent: string, provider: string, rejected: number): void {
  const run = turn.core.providers.get(provider);
  if (run === undefined) return;
  const held = recordOf(turn.core.writer.truth, provider)?.credential?.generation ?? 0;
  // It has not seen the newer one yet, or means one of a store that was lost: the broadcast mends both.
  if (rejected !== held) return;
  const { demandedBy } = run;
  if (demandedBy.generation !== held) {
    demandedBy.generation = held;
    demandedBy.agents.clear();
  }
  if (demandedBy.agents.has(agent)) return;
  demandedBy.agents.add(agent);
  if (run.phase.kind === "idle") demandNew(run, "demand");
}

/**
 * Where nothing that lives is held here, any agent's runway hastens the next attempt (`hastenRetry`). Else: an agent
 * that holds the current bundle shows what is left of it, measured when it came. Where that
 * ends well before it does by our clock, ours is behind that of the coordinator that it was adopted
 * from, and so is the plan: once the renewal is due by the agent's measure, that is its demand (I4).
 */
export function onAgentRunway(
  turn: Turn,
  agent: string,
  provider: string,
  runway: DurationMs,
  { term, generation }: Version,
): void {
  const { providers, settings, leadership } = turn.core;
  const run = providers.get(provider);
  if (run !== undefined && remaining(turn, run) === undefined) {
    hastenRetry(turn, run, agent, runway);
    return;
  }
  // Of an earlier term it measures something else: where stores were lost, generations begin anew.
  if (term < leadership.term) return;
  // What it measures must be what is held now: a newer credential may be committed and on its way.
  if (generation < (recordOf(turn.core.writer.truth, provider)?.credential?.generation ?? 0))
    return;
  if (run?.expires === undefined || run.lifetime === undefined) return;
  const end = plus(turn.now.mono, runway);
  if (between(end, run.expires) <= SKEW_WARNING) return;
  if (runway > (1 - settings.ratio) * run.lifetime) return;
  if (run.next === undefined || run.next.at <= end) return;
  log(turn, "warn", "an agent holds less life than this clock says: renewing", { provider, agent });
  const held = recordOf(turn.core.writer.truth, provider)?.credential?.generation ?? 0;
  onAgentDemand(turn, agent, provider, held);
}

/** As often as the bound on calls allows for ever. */
const SUSTAINED = durationMs(CALL_WINDOW / MAX_CALLS);

/**
 * The stores of the job's credential are lost, our memory has none or one that has expired since, and
 * the issuer has refused us so far; but agents still serve a newer one. As with a credential of our own,
 * no wait for the next attempt is longer than a third of what is left. It is only an agent's word: at
 * this pace it can't use up the calls (I11).
 */
function hastenRetry(turn: Turn, run: ProviderRun, agent: string, runway: DurationMs): void {
  if (run.next === undefined || run.phase.kind !== "idle" || runway <= 0) return;
  const wait = durationMs(Math.max(SUSTAINED, runway / 3));
  const at = plus(turn.now.mono, wait);
  if (at >= run.next.at) return;
  run.next = { at, reason: "retry", queued: false, fired: false };
  const provider = run.settings.name;
  log(turn, "info", "agents still serve what was lost here: trying sooner", {
    provider,
    agent,
    retryInMs: wait,
  });
}

/** A cycle that serves a demand begins: the next one waits, twice as long while agents go on. */
export function startCooldown(turn: Turn, run: ProviderRun, byAgents: boolean): void {
  const { cooldownFirst, cooldownMax } = turn.core.settings.timing;
  const goesOn =
    byAgents &&
    run.cooldown.byAgents &&
    turn.now.mono < plus(run.cooldown.until, run.cooldown.length);
  const length = goesOn
    ? durationMs(Math.min(run.cooldown.length * 2, cooldownMax))
    : cooldownFirst;
  run.cooldown = { length, until: plus(turn.now.mono, length), byAgents };
}
