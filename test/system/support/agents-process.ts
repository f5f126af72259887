/** A process of in-process agents as a test sees it: what they handed out, and how well. */
import { fileURLToPath } from "node:url";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import type { TimingsConfig } from "../../../src/worker-agent/config.ts";
import { type LoggedProcess, startProcess } from "./process.ts";

export interface AgentsOptions {
  readonly count: number;
  /** Default `executor`. */
  readonly namePrefix?: string;
  /** Default `lake`. */
  readonly providers?: readonly string[];
  readonly timings?: TimingsConfig;
  /** A folder with one state folder for each agent. Default: nothing is kept. */
  readonly stateDir?: string;
  /** How far past its expiry a credential may be seen by the oracle's clock: the skew bound. Default 0. */
  readonly toleranceMs?: number;
}

export interface AgentReport {
  readonly agent: string;
  /** How often a credential was looked at. */
  readonly looks: number;
  readonly lowestRunwayMs: number;
  /** Times, after the first credential, in which there was nothing to hand out. */
  readonly gaps: number;
  readonly longestGapMs: number;
  /** Looks at which an expired credential was handed out (I2). */
  readonly servedExpired: number;
  /** Bundles that were applied below an earlier one (I1). */
  readonly regressions: number;
  /** (term, generation) of every bundle that was taken, in order; after a mark the last one stays. */
  readonly versions: readonly (readonly [term: number, generation: number])[];
  readonly registrations: number;
  readonly refused: Readonly<Record<string, number>>;
}

export interface LiveReport extends AgentReport {
  readonly term: number;
  readonly generation: number;
  readonly joining: string;
  readonly connected: boolean;
}

export interface Usage {
  readonly heapUsed: number;
  readonly rss: number;
  readonly resources: number;
}

export interface AgentsProcess extends LoggedProcess {
  report(): Promise<{ readonly agents: readonly LiveReport[]; readonly process: Usage }>;
  /** Forgets all but the version that is held: what follows is judged alone. */
  mark(): Promise<void>;
  /** All agents have taken a bundle of this generation, or a later one. */
  untilGeneration(generation: number): Promise<void>;
  /** All agents have taken a bundle that `match` accepts, now or later. */
  untilAll(match: (version: { term: number; generation: number }) => boolean): Promise<void>;
  close(): Promise<void>;
}

const MAIN = fileURLToPath(new URL("agents-main.ts", import.meta.url));

/** Read at the start of the test's process, before any clock steps. */
const TRUE_OFFSET_MS = systemClock.now().wall - Number(process.hrtime.bigint()) / 1e6;

export function startAgents(
  joinFile: string,
  options: AgentsOptions,
  env: Readonly<Record<string, string>> = {},
): AgentsProcess {
  const given = JSON.stringify({ ...options, joinFile, trueOffsetMs: TRUE_OFFSET_MS });
  const child = startProcess({ name: "agents", args: ["--expose-gc", MAIN, given], env });
  let asked = 0;
  const ask = async (what: string): Promise<Readonly<Record<string, unknown>>> => {
    asked += 1;
    const id = asked;
    child.say({ ask: what, id });
    return (await child.until((line) => line["answer"] === id)).fields;
  };
  const untilAll: AgentsProcess["untilAll"] = async (match) => {
    const there = new Set<unknown>();
    await child.until((line) => {
      const version = { term: Number(line["term"]), generation: Number(line["generation"]) };
      if (line["message"] === "a newer bundle" && match(version)) there.add(line["agent"]);
      return there.size >= options.count;
    });
  };
  return {
    ...child,
    get lines() {
      return child.lines;
    },
    async report() {
      const { agents, process: usage } = await ask("report");
      return { agents: agents as LiveReport[], process: usage as Usage };
    },
    async mark() {
      await ask("mark");
    },
    untilGeneration: (generation) => untilAll((version) => version.generation >= generation),
    untilAll,
    async close() {
      if (!child.isAlive()) return;
      child.signal("SIGCONT");
      child.say({ ask: "close", id: 0 });
      await child.exited;
    },
  };
}
