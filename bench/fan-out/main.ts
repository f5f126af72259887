/**
 * Fan-out: from the beginning of the publication to the last ack of N agents, beside raw NATS with
 * the same bytes and as many connections, in the same run.
 *
 *     npm run bench -- fan-out --agents 1000 --rounds 9
 *
 * raw: publish the sealed bundle, each of N connections answers with an ack of the same size.
 * agents apart: a forced rotation, from the write of the bundle to the last ack that the core counted, where
 *   those connections answer with genuine acks that were made beforehand: what broker and coordinator add.
 * opening apart: the same with real agents, where those of a process share one opening of the bundle.
 * evergrant: each agent opening it for itself. On machines of their own agents work at the same time;
 *   here they share two processes, so that the difference is the number of agents times their own part.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readJobConfig } from "../../src/coordinator/config.ts";
import { type CoordinatorHandle, launchCoordinator } from "../../src/coordinator/coordinator.ts";
import { readJobKeys } from "../../src/coordinator/job-files.ts";
import { pause } from "../../src/nats/bounded.ts";
import { connectOperator } from "../../src/operator/operator-client.ts";
import { currentSet } from "../../src/protocol/keys.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { startChild } from "../support/child.ts";
import { median, type Row, report, row } from "../support/figures.ts";
import { startStand } from "../support/stand.ts";
import type { FleetQuestion } from "./fleet.ts";
import { bundleBytes, startRaw } from "./raw.ts";

const { values } = parseArgs({
  options: {
    agents: { type: "string", default: "1000" },
    rounds: { type: "string", default: "9" },
    report: { type: "string" },
  },
});
const AGENTS = Number(values.agents);
const ROUNDS = Number(values.rounds);
const PROCESSES = 2;

const MODES = ["raw", "agents apart", "opening apart", "evergrant"] as const;
type Mode = (typeof MODES)[number];
const perMode = (): Record<Mode, number[]> => ({
  raw: [],
  "agents apart": [],
  "opening apart": [],
  evergrant: [],
});
const took = perMode();
/** Of each agent, in microseconds: what else the machine does changes it least. */
const agentCpuUs = perMode();
/** Of this process: the coordinator, and the operator that asks for the rotation. */
const coordinatorCpuMs = perMode();

interface Job {
  readonly coordinator: CoordinatorHandle;
  /** One forced rotation: from the write of its bundle to the last ack, in milliseconds. */
  rotate(): Promise<number>;
  stop(): Promise<void>;
}

async function startJob(file: string): Promise<Job> {
  const coordinator = await launchCoordinator(await readJobConfig(file));
  await coordinator.ready();
  const operator = await connectOperator(coordinator.operatorFile);
  return {
    coordinator,
    async rotate() {
      const before = coordinator.status().generation;
      await operator.rotate({ text: "bench" });
      // Asked for in this process, and rarely: an operator who watches over NATS would be measured, too.
      for (;;) {
        await pause(systemClock, durationMs(200));
        const last = coordinator.status().rotations.at(-1);
        if (last === undefined || last.generation <= before || last.state !== "done") continue;
        if (last.applied !== AGENTS) throw new Error(`${last.applied} applied`);
        return last.publishToLastAckMs ?? Number.NaN;
      }
    },
    async stop() {
      await operator.close();
      await coordinator.handOver();
    },
  };
}

const stand = await startStand();
const [job, apart] = await Promise.all([
  stand.job("bench").then(startJob),
  stand.job("apart").then(startJob),
]);
const { id } = job.coordinator;
const raw = await startRaw(id.tenant, stand.servers.nats.url);
const keysOf = ({ coordinator }: Job) =>
  readJobKeys(join(coordinator.runDir, "job-key.json"), coordinator.id);
const sealed = await bundleBytes(id, await keysOf(job));
const macRoot = currentSet((await keysOf(apart)).reveal()).macRoot;

const fleets = Array.from({ length: PROCESSES }, () =>
  startChild(new URL("./fleet.ts", import.meta.url)),
);
const askAll = <T>(question: FleetQuestion): Promise<T[]> =>
  Promise.all(fleets.map((fleet) => fleet.ask<T>(question)));
const fleetCpuMs = async (): Promise<number> =>
  (await askAll<number>({ kind: "cpu" })).reduce((sum, ms) => sum + ms, 0);

async function joinAll(): Promise<void> {
  const share = Math.ceil(AGENTS / PROCESSES);
  await Promise.all(
    fleets.map((fleet, index) =>
      fleet.ask({
        kind: "start",
        joinFile: job.coordinator.joinFile,
        first: index * share,
        count: Math.min(share, AGENTS - index * share),
        raw: raw.id,
        apart: { ...apart.coordinator.id, macRoot },
      } satisfies FleetQuestion),
    ),
  );
  await prepare(0, true);
}

/** Acks of the job "apart", for its generation and so many more. */
async function prepare(ahead: number, now: boolean): Promise<void> {
  const { term, generation } = apart.coordinator.status();
  await askAll({ kind: "prepare", version: { term, generation: generation + ahead }, now });
}

async function round(mode: Mode): Promise<number> {
  if (mode === "raw") return await raw.round(sealed, AGENTS);
  return await (mode === "agents apart" ? apart : job).rotate();
}

/** One of each in every round: what else the machine does meanwhile falls on all alike. */
async function measure(): Promise<void> {
  for (let count = 0; count <= ROUNDS; count += 1) {
    for (const mode of MODES) {
      await askAll({ kind: "open", how: mode === "evergrant" ? "open-each" : "open-apart" });
      if (mode === "agents apart") await prepare(1, false);
      const before = await fleetCpuMs();
      const own = process.cpuUsage();
      const ms = await round(mode);
      const used = process.cpuUsage(own);
      const after = await fleetCpuMs();
      if (count === 0) continue; // warms up
      took[mode].push(ms);
      agentCpuUs[mode].push(((after - before) * 1000) / AGENTS);
      coordinatorCpuMs[mode].push((used.user + used.system) / 1000);
    }
  }
}

try {
  await joinAll();
  await measure();
  const rows: Row[] = [];
  for (const [what, unit, numbers] of [
    ["publish to last ack", "ms", took],
    ["CPU of each agent", "µs", agentCpuUs],
    ["CPU of the coordinator", "ms", coordinatorCpuMs],
  ] as const) {
    const baseline = median(numbers.raw);
    for (const mode of MODES) {
      const value = median(numbers[mode]);
      rows.push(row(`${mode}: ${what}`, value, unit, mode === "raw" ? undefined : baseline));
    }
  }
  report(`fan-out to ${AGENTS} agents, ${ROUNDS} rounds`, rows, values.report);
} finally {
  await Promise.all(fleets.map((fleet) => fleet.stop()));
  await raw.stop();
  await Promise.all([job.stop(), apart.stop()]);
  await stand.stop();
}
