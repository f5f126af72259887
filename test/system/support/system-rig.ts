/**
 * One job as it runs in earnest, scaled down: coordinators and agents as processes of their own, each
 * with its own proxies to NATS, Redis and STS, against real servers. The emulator of STS runs in the
 * test's process, where it counts and where a call can be met while it is under way.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { stateCodec } from "../../../src/coordinator/adapters/nats-register/state-codec.ts";
import type { JobState } from "../../../src/coordinator/core/job-state.ts";
import { readJobKeys } from "../../../src/coordinator/job-files.ts";
import { type StsEmulator, startStsEmulator } from "../../../src/emulators/aws-sts/server.ts";
import { accessFromBroker } from "../../../src/nats/access.ts";
import { connectNats } from "../../../src/nats/connect.ts";
import { openBucket } from "../../../src/nats/nats-kv.ts";
import { connectOperator, type OperatorClient } from "../../../src/operator/operator-client.ts";
import { BUCKET, jobKey } from "../../../src/protocol/subjects.ts";
import { seconds } from "../../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../../src/runtime/system-clock.ts";
import type { TestServer } from "../../support/server-processes.ts";
import { type AgentsOptions, type AgentsProcess, startAgents } from "./agents-process.ts";
import { type Line, type LoggedProcess, startProcess } from "./process.ts";
import { startProxy, type TcpProxy } from "./tcp-proxy.ts";

/**
 * What a shared machine may stand still for, in one go. No bound on the machine's speed is tighter than
 * the product's own times and this; where nobody's lease is to end, it outlives this.
 */
export const STALL_MS = 3_000;

/**
 * Intervals of the system ring: a lease of 3 s, and everything else with it. It is renewed so often that a
 * stall of 2 s does not end it, and is no longer, since most scenarios wait for its end.
 */
export const TIMING = {
  leaseTtlSec: 3,
  leaseMarginSec: 0.5,
  leaseRenewSec: 0.5,
  leaseWatchSec: 0.2,
  storeRetrySec: 0.2,
  beatSec: 1,
  lostSec: 3,
  reconcileSec: 1,
  watchdogGraceSec: 1,
  retryFirstSec: 1,
  retryMaxSec: 3,
  cooldownFirstSec: 1,
  cooldownMaxSec: 5,
  resendFirstSec: 0.5,
  resendMaxSec: 2,
} as const;
export const CALL_TIMEOUT_MS = 2000;

/** For scenarios in which nobody is to take a lease that is held: a stall of the machine must not end it. */
export const STEADY = { leaseTtlSec: 12 } as const;

/** Of what STS returns by default: no scenario comes near its plan of its own, on no machine. */
export const LIFETIME_MS = 120_000;
/** What is left of it at least in a scenario that nobody waits in: none takes a minute, whatever else the machine does. */
export const UNHURRIED_MS = LIFETIME_MS - 60_000;

/** Of agents: back within a second. */
export const AGENT_TIMINGS = {
  registerRetry: { firstMs: 200, lastMs: 1000 },
  receiverRetry: { firstMs: 200, lastMs: 1000 },
  catchUpSpreadMs: 200,
  registerSpreadMs: 200,
  requestTimeoutMs: 1000,
  reconnectWaitMs: 100,
  reconnectJitterMs: 100,
  pingIntervalMs: 500,
} as const;

export interface RigOptions {
  readonly nats: TestServer;
  readonly redis: TestServer;
  /** What STS returns, in milliseconds. Default LIFETIME_MS. */
  readonly lifetimeMs?: number;
  /** Default 0.75. */
  readonly ratio?: number;
  readonly timing?: Partial<Record<keyof typeof TIMING, number>>;
  readonly callTimeoutSec?: number;
}

export interface CoordinatorOptions {
  readonly standby?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** Other options of its provider: another configuration. */
  readonly provider?: Readonly<Record<string, unknown>>;
}

export interface CoordinatorProcess extends LoggedProcess {
  readonly runDir: string;
  readonly nats: TcpProxy;
  readonly redis: TcpProxy;
  /** It leads, now or later. */
  leads(since?: number): Promise<Line>;
  metrics(): Promise<Readonly<Record<string, number>>>;
}

export interface SystemRig {
  readonly id: { readonly tenant: string; readonly job: string };
  readonly dir: string;
  readonly sts: StsEmulator;
  /** On the way to it, for all coordinators: another address would be another configuration. */
  readonly stsProxy: TcpProxy;
  readonly jobKey: string;
  readonly coordinators: readonly CoordinatorProcess[];
  coordinator(name: string, options?: CoordinatorOptions): Promise<CoordinatorProcess>;
  /** Agents in one process, behind one proxy of their own, `agentsNats`. */
  agents(options: AgentsOptions, env?: Readonly<Record<string, string>>): Promise<AgentsProcess>;
  readonly agentsNats: TcpProxy;
  /** Written for the agents' proxy, once a coordinator has started. */
  joinFile(): Promise<string>;
  /** Straight to the server, by no proxy. */
  operator(): Promise<OperatorClient>;
  /** The state as it is stored, opened with the job's own key. */
  state(): Promise<JobState | undefined>;
}

let jobs = 0;
const MAIN = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));

/** Resources that end with a test, or with the soak. */
export type Cleanup = (close: () => Promise<unknown>) => void;

export async function startRig(options: RigOptions): Promise<SystemRig> {
  const closers: (() => Promise<unknown>)[] = [];
  onTestFinished(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });
  return await buildRig(options, (close) => closers.push(close));
}

export async function buildRig(options: RigOptions, cleanup: Cleanup): Promise<SystemRig> {
  jobs += 1;
  const id = { tenant: "system", job: `j${process.pid}-${jobs}` };
  const dir = await mkdtemp(join(tmpdir(), "evergrant-system-"));
  cleanup(() => rm(dir, { recursive: true, force: true }));
  const sts = await startStsEmulator({
    clock: systemClock,
    random: systemRandom,
    knobs: { lifetimeMs: options.lifetimeMs ?? LIFETIME_MS },
  });
  cleanup(() => sts.stop());
  const proxy = async (target: number, protocol: "nats" | "raw"): Promise<TcpProxy> => {
    const started = await startProxy(target, protocol);
    cleanup(() => started.close());
    return started;
  };
  const agentsNats = await proxy(options.nats.port, "nats");
  const stsProxy = await proxy(Number(new URL(sts.url).port), "raw");
  const key = join(dir, "job-key.json");
  const operatorFile = join(dir, "operator.json");
  const coordinators: CoordinatorProcess[] = [];
  const firstRunDir = (): string => {
    const [first] = coordinators;
    if (first === undefined) throw new Error("no coordinator was started");
    return first.runDir;
  };
  const joinFile = async (): Promise<string> => {
    const text = await readFile(join(firstRunDir(), "join.json"), "utf8");
    const file = JSON.parse(text) as { nats: { servers: string[] } };
    file.nats.servers = [`nats://127.0.0.1:${agentsNats.port}`];
    const path = join(dir, "join.json");
    await writeFile(path, JSON.stringify(file), { mode: 0o600 });
    return path;
  };

  return {
    id,
    dir,
    sts,
    stsProxy,
    jobKey: key,
    coordinators,
    agentsNats,
    joinFile,
    async coordinator(name, given = {}) {
      const runDir = join(dir, name);
      const [nats, redis] = await Promise.all([
        proxy(options.nats.port, "nats"),
        proxy(options.redis.port, "raw"),
      ]);
      const config = join(dir, `${name}.yaml`);
      await writeFile(
        config,
        JSON.stringify({
          ...id,
          runDir,
          nats: { servers: [`nats://127.0.0.1:${nats.port}`], pingIntervalSec: 0.5 },
          redis: { url: `redis://127.0.0.1:${redis.port}` },
          renewal: { ratio: options.ratio ?? 0.75 },
          timing: { ...TIMING, ...options.timing },
          log: { level: "debug" },
          providers: [
            {
              name: "lake",
              kind: "aws-sts",
              action: "AssumeRole",
              roleArn: "arn:aws:iam::123456789012:role/lake",
              region: "eu-west-1",
              durationSec: 3600,
              endpoint: `http://127.0.0.1:${stsProxy.port}`,
              callTimeoutSec: options.callTimeoutSec ?? CALL_TIMEOUT_MS / 1000,
              ...given.provider,
            },
          ],
        }),
      );
      const child = startProcess({
        name: `coordinator ${name}`,
        args: [
          MAIN,
          "coordinator",
          "--config",
          config,
          "--job-key",
          key,
          // One operator's key for all: whoever leads answers it.
          "--operator-file",
          operatorFile,
          "--json",
          ...(given.standby === true ? ["--standby"] : []),
        ],
        env: {
          AWS_ACCESS_KEY_ID: sts.baseCredentials.accessKeyId,
          AWS_SECRET_ACCESS_KEY: sts.baseCredentials.secretAccessKey.reveal(),
          ...given.env,
        },
      });
      cleanup(async () => {
        child.signal("SIGCONT");
        await child.kill();
      });
      const { fields } = await child.until((line) => line["event"] === "started");
      const coordinator: CoordinatorProcess = {
        ...child,
        runDir,
        nats,
        redis,
        leads: (since) => child.until((line) => line["msg"] === "leading", since),
        async metrics() {
          const answer = await fetch(`${String(fields["statusUrl"])}/metrics`);
          return metricsOf(await answer.text());
        },
      };
      coordinators.push(coordinator);
      return coordinator;
    },
    async agents(given, env = {}) {
      const agents = startAgents(
        await joinFile(),
        { timings: AGENT_TIMINGS, toleranceMs: 50, ...given },
        env,
      );
      cleanup(() => agents.kill());
      await agents.until((line) => line["message"] === "agents started");
      return agents;
    },
    async operator() {
      const text = await readFile(operatorFile, "utf8");
      const file = JSON.parse(text);
      file.nats.servers = [options.nats.url];
      const client = await connectOperator(file, { clock: systemClock, random: systemRandom });
      cleanup(() => client.close());
      return client;
    },
    async state() {
      const broker = await connectNats({
        role: "operator",
        id,
        name: `reader-${jobs}`,
        access: accessFromBroker({ servers: [options.nats.url] }),
        clock: systemClock,
        startTimeout: seconds(10),
      });
      try {
        const { kv } = await openBucket(broker, "state");
        const entry = await kv.get(jobKey(id));
        if (entry === null || entry.operation !== "PUT") return undefined;
        return await stateCodec(await readJobKeys(key, id)).decode(entry.value);
      } finally {
        await broker.close();
      }
    },
  };
}

/** Without labels: the sum over them. */
function metricsOf(text: string): Record<string, number> {
  const metrics: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const [, name, value] = /^([a-z_]+)(?:\{[^}]*\})? (\S+)$/.exec(line) ?? [];
    if (name !== undefined) metrics[name] = (metrics[name] ?? 0) + Number(value);
  }
  return metrics;
}

/** Frames of a coordinator that write the named store of the job. */
export const writesOf =
  (rig: SystemRig, store: keyof typeof BUCKET) =>
  ({ subject }: { readonly subject: string }): boolean =>
    subject === `$KV.${BUCKET[store]}.${jobKey(rig.id)}`;
