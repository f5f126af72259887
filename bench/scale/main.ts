/**
 * What N agents cost their coordinator and their issuer, beside N bare NATS connections that exchange
 * messages of the same sizes: a join storm, memory for each registered agent, a rotation's CPU and its
 * time from publish to last ack, and issuer calls. Agents are real ones, in two processes of this machine.
 *
 *     npm run bench -- scale --agents 1,10,100,1000,10000
 */
import { parseArgs } from "node:util";
import { connectOperator } from "../../src/operator/operator-client.ts";
import { seconds } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import type { Opening } from "../support/bench-agent.ts";
import { type Child, cpuBetween, startChild, type Usage } from "../support/child.ts";
import { median, type Row, report, row } from "../support/figures.ts";
import { startStand } from "../support/stand.ts";
import type { BareQuestion } from "./bare.ts";
import type { CoordinatorQuestion } from "./coordinator.ts";
import type { FleetQuestion } from "./fleet.ts";

const { values } = parseArgs({
  options: {
    agents: { type: "string", default: "1,10,100,1000" },
    rounds: { type: "string", default: "5" },
    "at-once": { type: "string", default: "250" },
    report: { type: "string" },
  },
});
const ROUNDS = Number(values.rounds);
const PROCESSES = 2;
/** Of this job's messages: a register request, its reply with the bundle, the sealed bundle, an ack. */
const BYTES = { request: 2300, reply: 4100, bundle: 1500, ack: 300 };

const now = (): number => systemClock.now().mono;

interface Fleet {
  readonly children: readonly Child[];
  /** All of it at once, and how long it took, in milliseconds. */
  have(kind: "agents" | "bare" | "prepare" | "prepared"): Promise<number>;
}

async function fleetOf(count: number, joinFile: string): Promise<Fleet> {
  const share = Math.ceil(count / PROCESSES);
  const children = Array.from({ length: Math.min(PROCESSES, count) }, () =>
    startChild(new URL("./fleet.ts", import.meta.url)),
  );
  // Their start is not part of it.
  await Promise.all(children.map((child) => child.ask({ kind: "usage" } satisfies FleetQuestion)));
  return {
    children,
    async have(kind) {
      const began = now();
      await Promise.all(
        children.map((child, index) =>
          child.ask({
            kind,
            joinFile,
            first: index * share,
            count: Math.min(share, count - index * share),
            atOnce: Number(values["at-once"]),
            requestBytes: BYTES.request,
            ackBytes: BYTES.ack,
          } satisfies FleetQuestion),
        ),
      );
      return now() - began;
    },
  };
}

/** A join storm on a job of its own: its agents never ack, which must not be part of a rotation. */
async function stormApart(agents: number): Promise<number> {
  const coordinator = startChild(new URL("./coordinator.ts", import.meta.url));
  const file = await stand.job(`bench-${agents}-apart`);
  const asked = { kind: "start", file } satisfies CoordinatorQuestion;
  const { joinFile } = await coordinator.ask<{ joinFile: string }>(asked);
  const fleet = await fleetOf(agents, joinFile);
  await fleet.have("prepare");
  const tookMs = await fleet.have("prepared");
  await stopAll([...fleet.children, coordinator]);
  return tookMs;
}

const stopAll = (children: readonly Child[]): Promise<unknown> =>
  Promise.all(children.map((child) => child.stop()));

const stand = await startStand();
const rows: Row[] = [];

async function measure(agents: number): Promise<void> {
  const name = `bench-${agents}`;
  const coordinator = startChild(new URL("./coordinator.ts", import.meta.url));
  const file = await stand.job(name);
  const asked = { kind: "start", file } satisfies CoordinatorQuestion;
  const { joinFile, operatorFile } = await coordinator.ask<{
    joinFile: string;
    operatorFile: string;
  }>(asked);

  // Bare first: the same connections, subscriptions, requests and sizes.
  const bare = startChild(new URL("./bare.ts", import.meta.url));
  const { url } = stand.servers.nats;
  await bare.ask({ kind: "start", url, replyBytes: BYTES.reply } satisfies BareQuestion);
  const bareFleet = await fleetOf(agents, joinFile);
  const bareStormMs = await bareFleet.have("bare");
  const round = { kind: "round", bytes: BYTES.bundle, acks: agents } satisfies BareQuestion;
  await bare.ask(round); // warms up
  const bareBefore = await bare.ask<Usage>({ kind: "usage" } satisfies BareQuestion);
  const bareRounds: number[] = [];
  for (let i = 0; i < ROUNDS; i += 1) bareRounds.push(await bare.ask<number>(round));
  const bareAfter = await bare.ask<Usage>({ kind: "usage" } satisfies BareQuestion);
  await stopAll([...bareFleet.children, bare]);

  const apartMs = await stormApart(agents);
  const usage = () => coordinator.ask<Usage>({ kind: "usage" } satisfies CoordinatorQuestion);
  await usage();
  const empty = await usage();
  const fleet = await fleetOf(agents, joinFile);
  const stormMs = await fleet.have("agents");
  const joined = await usage();
  const operator = await connectOperator(operatorFile, { answerTimeout: seconds(30) });
  const rotate = async (): Promise<number> => {
    await operator.rotate({ text: "bench" });
    // Asked for rarely: an operator who watches ten thousand agents would be measured, too.
    const question = { kind: "settled", agents } satisfies CoordinatorQuestion;
    return await coordinator.ask<number>(question);
  };
  /** The median from publish to last ack, after a round that warms up. */
  const rounds = async (how: Opening): Promise<number> => {
    await Promise.all(
      fleet.children.map((child) => child.ask({ kind: "opening", how } satisfies FleetQuestion)),
    );
    const lastAcks: number[] = [];
    for (let i = 0; i <= ROUNDS; i += 1) lastAcks.push(await rotate());
    return median(lastAcks.slice(1));
  };
  const opened = await rounds("open-each");
  const before = await usage();
  const callsBefore = stand.sts.count("AssumeRole", "ok");
  const apart = await rounds("open-apart");
  const calls = stand.sts.count("AssumeRole", "ok") - callsBefore;
  const after = await usage();
  await operator.close();
  await stopAll([...fleet.children, coordinator]);

  const of = `${agents} agents`;
  rows.push(
    row(`${of}: join storm, the agents' own part apart`, apartMs / 1000, "s", bareStormMs / 1000),
    row(`${of}: join storm, to the last one ready`, stormMs / 1000, "s", bareStormMs / 1000),
    row(`${of}: coordinator CPU for each join`, cpuBetween(empty, joined) / agents, "ms"),
    row(
      `${of}: resident memory for each, after joining`,
      (joined.rssBytes - empty.rssBytes) / 1024 / agents,
      "KiB",
    ),
    row(
      `${of}: heap for each, after joining`,
      (joined.heapBytes - empty.heapBytes) / 1024 / agents,
      "KiB",
    ),
    row(`${of}: publish to last ack, opening apart, median`, apart, "ms", median(bareRounds)),
    row(`${of}: publish to last ack, median`, opened, "ms", median(bareRounds)),
    row(
      `${of}: coordinator CPU for each rotation`,
      cpuBetween(before, after) / (ROUNDS + 1),
      "ms",
      cpuBetween(bareBefore, bareAfter) / ROUNDS,
    ),
    row(`${of}: issuer calls for each rotation`, calls / (ROUNDS + 1), "calls", agents),
  );
}

try {
  for (const agents of values.agents.split(",").map(Number)) {
    await measure(agents);
    // After each size: a larger one may not fit on the machine.
    report("scale", rows, values.report);
  }
} finally {
  await stand.stop();
}
