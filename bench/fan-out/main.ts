/**
 * Fan-out: from the beginning of the publication to the last ack of N agents, beside raw NATS with
 * the same bytes and as many connections, in the same run.
 *
 * `npm run bench:fan-out -- --agents 1000 --rounds 9`
 *
 * raw: publish the sealed bundle, each of N connections answers with an ack of the same size.
 * opening apart: a forced rotation, from the write of the bundle to the last ack that the core counted,
 *   where the agents of a process share one opening of the bundle.
 * evergrant: the same, each agent opening it for itself. On machines of their own they do so at the same
 *   time; here they share its cores, so that the difference is the number of agents times one opening.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { headers } from "@nats-io/transport-node";
import { parseJobConfig } from "../../src/coordinator/config.ts";
import { launchCoordinator } from "../../src/coordinator/coordinator.ts";
import { readJobKeys } from "../../src/coordinator/job-files.ts";
import { startEmbedded } from "../../src/embedded/embedded-servers.ts";
import { startStsEmulator } from "../../src/emulators/aws-sts/server.ts";
import { accessFromBroker } from "../../src/nats/access.ts";
import { connectNats } from "../../src/nats/connect.ts";
import { connectOperator } from "../../src/operator/operator-client.ts";
import { sealBundle } from "../../src/protocol/bundle.ts";
import { agentMacKey, currentSet, groupKeyOf } from "../../src/protocol/keys.ts";
import { encodeReport } from "../../src/protocol/report.ts";
import { Secret } from "../../src/protocol/secret.ts";
import { subject } from "../../src/protocol/subjects.ts";
import { durationMs, epochMs, seconds } from "../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import type { FleetOrder } from "./fleet.ts";

/** As in fleet.ts, which must not be imported: it waits for its parent. */
const RAW = "raw";

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

const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

interface Fleet {
  stop(): Promise<void>;
  cpuMs(): Promise<number>;
  /** Whether each agent opens the next bundles for itself. */
  open(how: "open-apart" | "open-each"): void;
}

async function fleet(order: Omit<FleetOrder, "first" | "count">): Promise<Fleet> {
  const share = Math.ceil(AGENTS / PROCESSES);
  const children = await Promise.all(
    Array.from({ length: PROCESSES }, async (_, index) => {
      const child = fork(new URL("./fleet.ts", import.meta.url));
      const first = index * share;
      const ready = said(child);
      child.send({ ...order, first, count: Math.min(share, AGENTS - first) });
      await ready;
      return child;
    }),
  );
  return {
    async stop() {
      await Promise.all(
        children.map(
          (child) =>
            new Promise<void>((resolve) => {
              child.once("exit", () => resolve());
              child.send("stop");
            }),
        ),
      );
    },
    open(how) {
      for (const child of children) child.send(how);
    },
    async cpuMs() {
      const each = await Promise.all(
        children.map(
          (child) =>
            new Promise<number>((resolve) => {
              child.once("message", (message: { ms: number }) => resolve(message.ms));
              child.send("cpu");
            }),
        ),
      );
      return each.reduce((sum, ms) => sum + ms, 0);
    },
  };
}

function said(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("message", (message: { kind: string; error?: string }) =>
      message.kind === "ready" ? resolve() : reject(new Error(message.error)),
    );
    child.once("exit", (code) => reject(new Error(`a fleet process ended with ${code}`)));
  });
}

const dir = await mkdtemp(join(tmpdir(), "evergrant-bench-"));
const sts = await startStsEmulator({ clock: systemClock, random: systemRandom });
process.env["AWS_ACCESS_KEY_ID"] = sts.baseCredentials.accessKeyId;
process.env["AWS_SECRET_ACCESS_KEY"] = sts.baseCredentials.secretAccessKey.reveal();
const servers = await startEmbedded({
  runDir: join(dir, "servers"),
  clock: systemClock,
  random: systemRandom,
  users: [{ user: "bench", password: new Secret("bench") }],
});
await writeFile(
  join(dir, "job.yaml"),
  `
job: bench
runDir: ./run
nats: {servers: ["${servers.nats.url}"], user: bench, password: bench, agents: {user: bench, password: bench}, operators: {user: bench, password: bench}}
redis: {url: "${servers.redis.url.reveal()}"}
log: {level: error}
timing: {cooldownFirstSec: 0.1, cooldownMaxSec: 0.1}
providers:
  - {name: lake, kind: aws-sts, action: AssumeRole, roleArn: "arn:aws:iam::123456789012:role/lake", region: eu-west-1, durationSec: 3600, endpoint: "${sts.url}"}
`,
);
const coordinator = await launchCoordinator(
  parseJobConfig(await readFile(join(dir, "job.yaml"), "utf8"), {
    dir,
  }),
);
await coordinator.ready();
const id = coordinator.id;
const keys = (await readJobKeys(join(coordinator.runDir, "job-key.json"), id)).reveal();
const set = currentSet(keys);
const own = await connectNats({
  role: "coordinator",
  id: { tenant: id.tenant, job: "raw" },
  name: "bench",
  access: accessFromBroker({ servers: [servers.nats.url], user: "bench", password: "bench" }),
  clock: systemClock,
});

/** The same bytes as the job's own bundle has: one AWS session. */
const group = groupKeyOf(set, id, "bench");
const credentialOf = (generation: number) => ({
  provider: "lake",
  kind: "aws-session",
  generation,
  issuedAt: epochMs(0),
  expiresAt: epochMs(4e12),
  issuerSkew: seconds(0),
  attributes: { region: "eu-west-1", accountId: "123456789012" },
  material: new Secret({
    accessKeyId: "A".repeat(20),
    secretAccessKey: "s".repeat(40),
    sessionToken: "t".repeat(360),
  }),
});
const sealed = await sealBundle(
  {
    ...id,
    term: 1,
    generation: 1,
    sealedAt: epochMs(0),
    expiresAt: epochMs(4e12),
    credentials: [credentialOf(1)],
    tombstones: [],
  },
  group,
  set.signing,
);
const agentId = { agent: "bench-0", instance: "i".repeat(22) };
const ack = encodeReport(
  {
    v: 1,
    type: "ack",
    ...agentId,
    sequence: 10,
    term: 1795344189,
    generation: 3,
    results: [
      { provider: "lake", kind: "in-process", generation: 3, outcome: "applied", tookMs: 1.5 },
    ],
  },
  subject.agent(id, "ack", "bench-0"),
  agentMacKey(set.macRoot, id, agentId),
);

/** As many bytes as JetStream puts before a bundle that it republishes. */
const republished = headers();
for (const [name, value] of [
  ["Nats-Stream", "KV_evergrant_bundles"],
  ["Nats-Subject", "$KV.evergrant_bundles.default.bench"],
  ["Nats-Sequence", "10"],
  ["Nats-Last-Sequence", "9"],
  ["Nats-Time-Stamp", "2026-01-01T00:00:00.000000000Z"],
] as const) {
  republished.append(name, value);
}

async function rawRound(): Promise<number> {
  const bare = { ...id, job: RAW };
  let heard = 0;
  const done = new Promise<number>((resolve) => {
    const subscription = own.nc.subscribe(subject.agent(bare, "ack", "*"), {
      callback: () => {
        heard += 1;
        if (heard < AGENTS) return;
        subscription.unsubscribe();
        resolve(systemClock.now().mono);
      },
    });
  });
  await own.nc.flush();
  const began = systemClock.now().mono;
  own.nc.publish(subject.bundle(bare), sealed, { headers: republished });
  return (await done) - began;
}

const MODES = ["raw", "opening apart", "evergrant"] as const;
type Mode = (typeof MODES)[number];
const perMode = (): Record<Mode, number[]> => ({ raw: [], "opening apart": [], evergrant: [] });

const results = perMode();
/** Of the fleet, for each agent and round, in microseconds: what noise on the machine does not change. */
const agentCpuUs = perMode();
/** Of this process, for each round: the coordinator, and the operator that asks for the rotation. */
const coordinatorCpuMs = perMode();

/** One of each in every round: what else the machine does meanwhile falls on all alike. */
async function measure(): Promise<void> {
  const began = systemClock.now().mono;
  const agents = await fleet({
    joinFile: coordinator.joinFile,
    ack: Buffer.from(ack).toString("utf8"),
  });
  console.error(`${AGENTS} agents joined in ${Math.round(systemClock.now().mono - began)} ms`);
  const operator = await connectOperator(coordinator.operatorFile);
  const rotate = async (): Promise<number> => {
    const before = coordinator.status().generation;
    await operator.rotate({ text: "bench" });
    // Asked for in this process, and rarely: an operator who watches over NATS would be measured, too.
    for (;;) {
      await new Promise<void>((resume) => void systemClock.timer(durationMs(200), resume));
      const last = coordinator.status().rotations.at(-1);
      if (last === undefined || last.generation <= before || last.state !== "done") continue;
      if (last.applied !== AGENTS) throw new Error(`${last.applied} applied`);
      return last.publishToLastAckMs ?? Number.NaN;
    }
  };
  try {
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const mode of MODES) {
        agents.open(mode === "evergrant" ? "open-each" : "open-apart");
        const before = await agents.cpuMs();
        const own = process.cpuUsage();
        const took = await (mode === "raw" ? rawRound() : rotate());
        const used = process.cpuUsage(own);
        const after = await agents.cpuMs();
        if (round === 0) continue; // Warms up.
        results[mode].push(took);
        agentCpuUs[mode].push(((after - before) * 1000) / AGENTS);
        coordinatorCpuMs[mode].push((used.user + used.system) / 1000);
      }
    }
  } finally {
    await operator.close();
    await agents.stop();
  }
}

try {
  await measure();
  const round = (value: number, digits: number): number => Number(value.toFixed(digits));
  const rows = MODES.map((mode) => ({
    mode,
    medianMs: round(median(results[mode]), 1),
    minMs: round(Math.min(...results[mode]), 1),
    maxMs: round(Math.max(...results[mode]), 1),
    ratioToRaw: round(median(results[mode]) / median(results.raw), 2),
    agentCpuUs: round(median(agentCpuUs[mode]), 0),
    coordinatorCpuMs: round(median(coordinatorCpuMs[mode]), 0),
  }));
  console.table(rows);
  if (values.report !== undefined) {
    await writeFile(
      values.report,
      JSON.stringify(
        {
          agents: AGENTS,
          rounds: ROUNDS,
          sealedBytes: sealed.length,
          ackBytes: ack.length,
          rows,
          results,
        },
        null,
        2,
      ),
    );
  }
} finally {
  await own.close();
  await coordinator.handOver();
  await servers.stop();
  await sts.stop();
  await rm(dir, { recursive: true, force: true });
}
