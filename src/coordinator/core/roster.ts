/**
 * The agents that are known: who is live, what each has applied, who lags. A successor learns them
 * from their reports, so nothing of this is stored.
 */
import { compareVersions, type Version } from "../../protocol/names.ts";
import type { Report } from "../../protocol/report.ts";
import { durationMs, type MonoMs, seconds } from "../../protocol/time.ts";
import { failingOf, NONE, orNone, sharedReceivers, sharedVersion } from "./alike.ts";
import {
  ALWAYS,
  audit,
  type Core,
  countRefused,
  due,
  jobTime,
  log,
  plus,
  type Turn,
  unwarn,
  warn,
} from "./core.ts";
import { onAgentDemand, onAgentRunway } from "./demand.ts";
import type { RegisterFacts } from "./effects.ts";
import { isLeading, noteTerm, TERMS_PER_SEC } from "./lease.ts";
import { answerReport, given, lags } from "./resending.ts";

export interface Agent {
  readonly agent: string;
  readonly instance: string;
  /** Of its own key; unknown when it is known from its reports only. */
  readonly keyX: string | undefined;
  receivers: readonly { readonly kind: string; readonly provider: string }[];
  /** The highest that it holds. */
  held: Version;
  /** The highest generation that all its receivers have applied. */
  applied: number;
  lastHeard: MonoMs;
  lost: boolean;
  sequence: number;
  /** When what is published was last sent to it alone, and how often that was in turn. */
  givenAt: MonoMs;
  resends: number;
  runwayMs: number | undefined;
  failing: Readonly<Record<string, string>>;
  refused: Readonly<Record<string, number>>;
}

export interface Roster {
  readonly agents: Map<string, Agent>;
  /** Instances by name, to tell two of one name. */
  readonly byName: Map<string, readonly string[]>;
  /** Of who was let in last: agents of one job are alike. */
  lastReceivers: Agent["receivers"];
  sweepAt: MonoMs;
  /** How many of them were lost at the last sweep. */
  lost: number;
  /** Who has left, by key, and when: nothing of theirs counts any more. */
  readonly left: Map<string, MonoMs>;
}

/** Ten years: how far a former coordinator's clock may have been ahead. */
const LIKELY_AHEAD = 10 * 365 * 86_400 * TERMS_PER_SEC;

/** Lost agents are remembered for this long, so that operators see their names. */
const FORGET_AFTER = seconds(3600);

export const newRoster = (): Roster => ({
  agents: new Map(),
  byName: new Map(),
  lastReceivers: [],
  sweepAt: ALWAYS,
  lost: 0,
  left: new Map(),
});

const keyOf = (agent: string, instance: string): string => `${agent}/${instance}`;

export function* liveAgents(core: Core): Iterable<Agent> {
  for (const agent of core.roster.agents.values()) if (!agent.lost) yield agent;
}

/** An agent was let in. The older instance with the same key is superseded. */
export function admit(turn: Turn, body: RegisterFacts): void {
  const { roster } = turn.core;
  const keyX = body.key.jwk.x;
  for (const instance of roster.byName.get(body.agent) ?? []) {
    const other = roster.agents.get(keyOf(body.agent, instance));
    if (other?.keyX === keyX && instance !== body.instance) forget(turn, other);
  }
  const before = roster.agents.get(keyOf(body.agent, body.instance));
  roster.lastReceivers = sharedReceivers(roster.lastReceivers, body.receivers);
  roster.left.delete(keyOf(body.agent, body.instance));
  const agent: Agent = {
    agent: body.agent,
    instance: body.instance,
    keyX,
    receivers: roster.lastReceivers,
    held: body.highest,
    applied: before?.applied ?? 0,
    lastHeard: turn.now.mono,
    lost: false,
    sequence: before?.sequence ?? 0,
    givenAt: ALWAYS,
    resends: 0,
    runwayMs: before?.runwayMs,
    failing: before?.failing ?? NONE,
    refused: before?.refused ?? NONE,
  };
  add(turn, agent);
  noteClaimedTerm(turn, body.highest.term);
  given(turn, agent);
}

/**
 * A term that an agent claims to have seen raises ours (all stores may have been lost), but only
 * within reason: terms follow the wall clock, and an executor that lies must not be able
 * to use up the numbers.
 */
function noteClaimedTerm(turn: Turn, term: number): void {
  const likely = Math.max(turn.core.leadership.term, (jobTime(turn) / 1000) * TERMS_PER_SEC);
  if (term <= likely + LIKELY_AHEAD) noteTerm(turn, term);
  else countRefused(turn.core, "MESSAGE_MALFORMED");
}

function add(turn: Turn, agent: Agent): void {
  const { roster } = turn.core;
  roster.agents.set(keyOf(agent.agent, agent.instance), agent);
  const instances = roster.byName.get(agent.agent) ?? [];
  if (!instances.includes(agent.instance)) {
    roster.byName.set(agent.agent, [...instances, agent.instance]);
  }
  nameWarning(turn, agent.agent);
}

function forget(turn: Turn, agent: Agent): void {
  const { roster, rotations } = turn.core;
  const key = keyOf(agent.agent, agent.instance);
  roster.agents.delete(key);
  const others = roster.byName.get(agent.agent)?.filter((i) => i !== agent.instance) ?? [];
  if (others.length === 0) roster.byName.delete(agent.agent);
  else roster.byName.set(agent.agent, others);
  rotations.gone(turn, key);
  nameWarning(turn, agent.agent);
}

function nameWarning(turn: Turn, name: string): void {
  const { roster } = turn.core;
  const instances = roster.byName.get(name);
  // The common case first: it runs for each of ten thousand joins.
  if (instances === undefined || instances.length < 2) {
    if (turn.core.warnings.size > 0) unwarn(turn, `name:${name}`);
    return;
  }
  const live = instances.filter((i) => roster.agents.get(keyOf(name, i))?.lost === false);
  if (live.length > 1) {
    warn(
      turn,
      `name:${name}`,
      `${live.length} agents call themselves ${name}: all of them are served`,
    );
  } else unwarn(turn, `name:${name}`);
}

const isLeaving = (report: Report): boolean => report.type === "beat" && report.leaving === true;

/** Its executor is done: it is neither lost nor missing, and no rotation waits for it. */
function leave(turn: Turn, agent: Agent): void {
  const key = keyOf(agent.agent, agent.instance);
  turn.core.rotations.left(turn, key);
  forget(turn, agent);
  turn.core.roster.left.set(key, turn.now.mono);
  audit(turn, "agent-left", { agent: agent.agent });
  log(turn, "info", "an agent has left", { agent: agent.agent });
}

export function onReport(turn: Turn, report: Report): void {
  const { core } = turn;
  if (!isLeading(core)) return;
  const key = keyOf(report.agent, report.instance);
  if (core.roster.left.has(key)) return; // Late, doubled or played again.
  let agent = core.roster.agents.get(key);
  if (agent === undefined) {
    if (isLeaving(report)) return;
    agent = {
      agent: report.agent,
      instance: report.instance,
      keyX: undefined,
      receivers: [],
      held: { term: 0, generation: 0 },
      applied: 0,
      lastHeard: turn.now.mono,
      lost: false,
      sequence: 0,
      givenAt: ALWAYS,
      resends: 0,
      runwayMs: undefined,
      failing: NONE,
      refused: NONE,
    };
    add(turn, agent);
  }
  if (report.sequence <= agent.sequence) return; // Doubled, late or played again.
  if (isLeaving(report)) {
    leave(turn, agent);
    return;
  }
  agent.sequence = report.sequence;
  agent.lastHeard = turn.now.mono;
  if (agent.lost) {
    agent.lost = false;
    nameWarning(turn, agent.agent);
    log(turn, "info", "a lost agent is back", { agent: agent.agent });
  }
  const version = { term: report.term, generation: report.generation };
  noteClaimedTerm(turn, report.term);
  const news = compareVersions(version, agent.held) > 0;
  if (news) agent.held = sharedVersion(core, version);
  answerReport(turn, agent, { news, beats: report.type === "beat" });
  switch (report.type) {
    case "ack": {
      const failed = report.results.filter((r) => r.outcome === "failed");
      agent.failing = failingOf(failed);
      if (failed.length === 0) applied(turn, key, agent, version);
      return;
    }
    case "beat": {
      const runways = Object.values(report.runwayMs);
      agent.runwayMs = runways.length > 0 ? Math.min(...runways) : undefined;
      agent.failing = orNone(report.failing);
      agent.refused = orNone(report.refused);
      // What it holds is not yet what its receivers serve: one of them may be at work on it still.
      if (report.applied === true) applied(turn, key, agent, version);
      if (!lags(core, agent)) {
        for (const [provider, left] of Object.entries(report.runwayMs)) {
          onAgentRunway(turn, report.agent, provider, durationMs(left), version);
        }
      }
      return;
    }
    case "demand":
      onAgentDemand(turn, report.agent, report.provider, report.rejected);
      return;
  }
}

/** Of an earlier term it says nothing: where stores were lost, generations begin anew (I7). */
function applied(turn: Turn, key: string, agent: Agent, { term, generation }: Version): void {
  if (term < turn.core.leadership.term || generation <= agent.applied) return;
  agent.applied = generation;
  turn.core.rotations.applied(turn, key, generation);
}

/** Marks the silent as lost, and forgets them in the end. */
export function advanceRoster(turn: Turn): void {
  const { core, now } = turn;
  const { roster, settings } = core;
  const { timing } = settings;
  if (!isLeading(core)) return;
  if (due(turn, roster.sweepAt)) {
    roster.sweepAt = plus(now.mono, durationMs(timing.beat / 3));
    due(turn, roster.sweepAt);
    roster.lost = 0;
    for (const [key, agent] of roster.agents) {
      if (now.mono >= plus(agent.lastHeard, FORGET_AFTER)) {
        forget(turn, agent);
        continue;
      }
      if (!agent.lost && now.mono >= plus(agent.lastHeard, timing.lost)) {
        agent.lost = true;
        core.rotations.gone(turn, key);
        nameWarning(turn, agent.agent);
        audit(turn, "agent-lost", { agent: agent.agent });
        log(turn, "warn", "agent lost", { agent: agent.agent });
      }
      if (agent.lost) roster.lost += 1;
    }
    for (const [key, at] of roster.left) {
      if (now.mono >= plus(at, FORGET_AFTER)) roster.left.delete(key);
    }
  }
}

/** A new leadership: nobody is lost for what was not heard while this coordinator did not lead. */
export function restartRoster({ core, now }: Turn): void {
  for (const agent of core.roster.agents.values()) {
    agent.lastHeard = now.mono;
    agent.applied = 0;
  }
  core.roster.sweepAt = ALWAYS;
  core.resending.of = undefined;
}
