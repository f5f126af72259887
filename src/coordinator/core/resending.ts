/**
 * When what is published is sent again. Every live agent that has not answered has a ladder of its own,
 * so that one that joins late is served soon, and one that can't open it costs little. One round looks at
 * all of them, at most once in the ladder's first step, however many have their turn.
 */
import { compareVersions, type Version } from "../../protocol/names.ts";
import { type DurationMs, durationMs, type MonoMs, monoMs } from "../../protocol/time.ts";
import { ALWAYS, type Core, due, plus, type Turn } from "./core.ts";
import { currentSealed } from "./publisher.ts";
import type { Agent } from "./roster.ts";

export interface Resending {
  /** What was last seen to be published, and when that was. */
  of: Version | undefined;
  sentAt: MonoMs;
  /** When an agent was last heard to hold it. */
  progressAt: MonoMs;
  roundAt: MonoMs;
  roundedAt: MonoMs;
}

const NEVER: MonoMs = monoMs(Number.POSITIVE_INFINITY);

export const newResending = (): Resending => ({
  of: undefined,
  sentAt: ALWAYS,
  progressAt: ALWAYS,
  roundAt: NEVER,
  roundedAt: ALWAYS,
});

/** What an agent's answer takes at most, of a machine that it shares with all others. */
const ANSWER_TAKES = durationMs(1);

/** How long no answer may come before the bundle is sent again: the more agents, the busier are all. */
function patience({ core }: Turn): DurationMs {
  const { resendFirst, resendMax } = core.settings.timing;
  const live = core.roster.agents.size - core.roster.lost;
  return durationMs(Math.max(resendFirst, Math.min(live * ANSWER_TAKES, resendMax)));
}

/**
 * Until when answers to what is published are waited for: whoever has not answered yet may just be slow,
 * and so may we be. Ten thousand agents that are sent the bundle again answer it again, and are slower
 * for it. An end to that all the same: agents that join at any time answer, too.
 */
function answersUntil(turn: Turn): MonoMs {
  const { resending, settings } = turn.core;
  const wait = patience(turn);
  const last = monoMs(Math.max(resending.sentAt, resending.progressAt));
  const most = Math.max(wait, Math.min(10 * wait, settings.timing.lost));
  return monoMs(Math.min(plus(last, wait), plus(resending.sentAt, durationMs(most))));
}

const lastGiven = ({ core }: Turn, agent: Agent): MonoMs =>
  monoMs(Math.max(core.resending.sentAt, agent.givenAt));

/** When the agent has its turn, if it has not answered until then. */
function turnOf(turn: Turn, agent: Agent): MonoMs {
  const { resendFirst, resendMax } = turn.core.settings.timing;
  const ladder = Math.min(resendFirst * 2 ** agent.resends, resendMax);
  return plus(lastGiven(turn, agent), durationMs(Math.max(ladder, patience(turn))));
}

export function lags(core: Core, agent: Agent): boolean {
  const { published } = core.publisher;
  return published !== undefined && compareVersions(agent.held, published) < 0;
}

/** It was given what is published, with its registration. */
export function given(turn: Turn, agent: Agent): void {
  agent.givenAt = turn.now.mono;
  agent.resends = 0;
  expectAnswer(turn, agent);
}

/** It lags: its turn comes, unless it answers. */
function expectAnswer(turn: Turn, agent: Agent): void {
  const { resending, settings } = turn.core;
  const earliest = plus(resending.roundedAt, settings.timing.resendFirst);
  const at = monoMs(Math.max(turnOf(turn, agent), earliest));
  if (at < resending.roundAt) resending.roundAt = at;
}

/**
 * A report has come, which shows what the agent holds. A beat that shows an old version is answered (I4).
 * @param report.news it shows a newer version than before
 */
export function answerReport(
  turn: Turn,
  agent: Agent,
  report: { readonly news: boolean; readonly beats: boolean },
): void {
  const { core, now } = turn;
  if (report.news && agent.held === core.publisher.published) core.resending.progressAt = now.mono;
  if (!lags(core, agent)) return;
  const early = now.mono < plus(lastGiven(turn, agent), patience(turn));
  if (report.beats && !early && now.mono >= answersUntil(turn)) {
    agent.givenAt = now.mono;
    push(turn, [agent.agent]);
  }
  // What it was just given may have been lost with its connection.
  if (report.beats && early) agent.resends = 0;
  expectAnswer(turn, agent);
}

function push(turn: Turn, agents: readonly string[]): void {
  const sealed = currentSealed(turn);
  if (sealed === undefined || agents.length === 0) return;
  turn.effects.push({ kind: "push", agents, sealed });
}

/** Looks for what is newly published, and holds the round that is due. */
export function advanceResending(turn: Turn): void {
  const { core, now } = turn;
  const { resending, publisher, roster } = core;
  const { published } = publisher;
  if (published === undefined) return;
  if (resending.of === undefined || compareVersions(resending.of, published) !== 0) {
    resending.of = published;
    resending.sentAt = now.mono;
    resending.roundAt = now.mono;
    for (const agent of roster.agents.values()) agent.resends = 0;
  }
  const until = answersUntil(turn);
  if (resending.roundAt < until) resending.roundAt = until;
  if (!due(turn, resending.roundAt)) return;
  resending.roundedAt = now.mono;
  resending.roundAt = NEVER;
  const behind: string[] = [];
  for (const agent of roster.agents.values()) {
    if (agent.lost || !lags(core, agent)) continue;
    if (turnOf(turn, agent) <= now.mono) {
      agent.givenAt = now.mono;
      agent.resends += 1;
      behind.push(agent.agent);
    }
    expectAnswer(turn, agent);
  }
  push(turn, behind);
  due(turn, resending.roundAt);
}
