/**
 * Fan-out: from the beginning of the publication to the last ack of N agents, beside raw NATS with
 * the same bytes and as many connections, in the same run.
 *
 * `npm run bench:fan-out -- --agents 1000 --rounds 9`
 *
 * raw: publish the sealed bundle, each of N connections answers with an ack of the same size.
 * raw+open: the same, but each first verifies and opens the bundle, as any agent must.
 * evergrant: a forced rotation, from the write of the bundle to the last ack that the core counted.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
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
import { epochMs, seconds } from "../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import type { FleetOrder } from "./fleet.ts";

/** As in fleet.ts, which must not be imported: it waits for its parent. */
const RAW = "raw";
const OPENING = "raw-open";

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

async function fleet(
  order: Omit<FleetOrder, "first" | "count">,
): Promise<{ stop(): Promise<void>; cpuMs(): Promise<number> }> {
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

async function rawRound(name: string): Promise<number> {
  const bare = { ...id, job: name };
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
  own.nc.publish(subject.bundle(bare), sealed);
  return (await done) - began;
}

const results = { raw: [] as number[], "raw+open": [] as number[], evergrant: [] as number[] };

/** Of the fleet, for each agent and round, in microseconds: what noise on the machine does not change. */
const agentCpuUs = { raw: [] as number[], "raw+open": [] as number[], evergrant: [] as number[] };
/** Of this process, for each rotation: the coordinator, and the operator that asked for it. */
const coordinatorCpuMs: number[] = [];

/** One of each in every round: what else the machine does meanwhile falls on all three alike. */
async function measure(): Promise<void> {
  const began = systemClock.now().mono;
  const agents = await fleet({
    joinFile: coordinator.joinFile,
    ack: Buffer.from(ack).toString("utf8"),
    group: { kid: group.kid, key: Buffer.from(group.key).toString("base64url") },
  });
  console.error(`${AGENTS} agents joined in ${Math.round(systemClock.now().mono - began)} ms`);
  const operator = await connectOperator(coordinator.operatorFile);
  try {
    for (let round = 0; round <= ROUNDS; round += 1) {
      const cpu = [await agents.cpuMs()];
      const raw = await rawRound(RAW);
      cpu.push(await agents.cpuMs());
      const open = await rawRound(OPENING);
      cpu.push(await agents.cpuMs());
      const own = process.cpuUsage();
      const rotation = await operator.rotate({ text: "bench", wait: seconds(60) });
      const used = process.cpuUsage(own);
      cpu.push(await agents.cpuMs());
      if (rotation.applied !== AGENTS) throw new Error(`${rotation.applied} applied`);
      if (round === 0) continue; // Warms up.
      const [start = 0, afterRaw = 0, afterOpen = 0, afterAll = 0] = cpu;
      agentCpuUs.raw.push(((afterRaw - start) * 1000) / AGENTS);
      agentCpuUs["raw+open"].push(((afterOpen - afterRaw) * 1000) / AGENTS);
      agentCpuUs.evergrant.push(((afterAll - afterOpen) * 1000) / AGENTS);
      coordinatorCpuMs.push((used.user + used.system) / 1000);
      results.raw.push(raw);
      results["raw+open"].push(open);
      results.evergrant.push(rotation.publishToLastAckMs ?? Number.NaN);
    }
  } finally {
    await operator.close();
    await agents.stop();
  }
}

try {
  await measure();
  const rows = (["raw", "raw+open", "evergrant"] as const)
    .map((mode) => ({ mode, all: results[mode] }))
    .map(({ mode, all }) => ({
      mode,
      medianMs: Math.round(median(all) * 10) / 10,
      minMs: Math.round(Math.min(...all) * 10) / 10,
      maxMs: Math.round(Math.max(...all) * 10) / 10,
      ratioToRaw: Math.round((median(all) / median(results.raw)) * 100) / 100,
      agentCpuUs: Math.round(median(agentCpuUs[mode])),
      ratioToRawOpen: Math.round((median(all) / median(results["raw+open"])) * 100) / 100,
    }));
  console.table(rows);
  console.log(`coordinator: ${Math.round(median(coordinatorCpuMs))} ms of CPU for each rotation`);
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
