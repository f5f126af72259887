/**
 * A whole job for tests: real servers, the STS emulator as issuer, a coordinator and any number of
 * in-process agents, all in this process and all ended with the test.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFailed, onTestFinished } from "vitest";
import { parseJobConfig } from "../../src/coordinator/config.ts";
import {
  type CoordinatorHandle,
  type LaunchOptions,
  launchCoordinator,
} from "../../src/coordinator/coordinator.ts";
import {
  type StsEmulator,
  type StsEmulatorOptions,
  startStsEmulator,
} from "../../src/emulators/aws-sts/server.ts";
import type { Credential } from "../../src/protocol/credential.ts";
import type { Logger } from "../../src/runtime/logger.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import { type Agent, type StartAgentOptions, startAgent } from "../../src/worker-agent/agent.ts";
import {
  type JobMembership,
  type JoinJobOptions,
  joinJob,
} from "../../src/worker-agent/join-job.ts";
import type { TestServer } from "./servers.ts";

export interface JobRigOptions {
  readonly nats: TestServer;
  readonly redis: TestServer;
  /** Default `etl`. Jobs of other names share the servers without meeting. */
  readonly job?: string;
  /** What STS returns, in milliseconds. Default 12 s. */
  readonly lifetimeMs?: number;
  /** How much of a life is used up when it is renewed. Default: the product's own. */
  readonly ratio?: number;
  /** YAML below the top level, e.g. `timing: {beatSec: 1}`. */
  readonly yaml?: string;
  /** Names, or whole entries in YAML. Default: one provider `lake`. */
  readonly providers?: readonly string[];
  readonly sts?: Partial<StsEmulatorOptions>;
  /** The `nats:` and `redis:` sections, where the addresses alone will not do. */
  readonly stores?: string;
}

export interface JobRig {
  readonly sts: StsEmulator;
  readonly dir: string;
  readonly joinFile: string;
  /** What was logged so far, as JSON lines. */
  readonly logs: string[];
  /** Starts a coordinator; ended (handed over) with the test. */
  coordinator(options?: LaunchOptions): Promise<CoordinatorHandle>;
  /** Calls that STS answered with a credential. */
  issued(): number;
  /** Joins in-process; closed with the test. */
  agent(options?: JoinJobOptions): Promise<JobMembership>;
  /** An agent with receivers, as `evergrant agent` runs it; closed with the test. */
  sidecar(options?: StartAgentOptions): Promise<Agent>;
  /** Replaces the providers' section: what the next coordinator is configured with. */
  configure(providers: readonly string[]): void;
  /** Called at the end of the test, the last one first. */
  atEnd(close: () => Promise<unknown>): void;
}

/** Intervals of a few seconds in place of many, all scaled together. */
export const FAST = `timing: {leaseTtlSec: 6, leaseMarginSec: 1, leaseRenewSec: 1, leaseWatchSec: 0.3, storeRetrySec: 0.2, beatSec: 1, lostSec: 3, reconcileSec: 2, watchdogGraceSec: 2, retryFirstSec: 1, cooldownFirstSec: 1, cooldownMaxSec: 5, resendFirstSec: 0.5, resendMaxSec: 2}`;

/** For agents: coming back within a second. */
export const FAST_AGENT = {
  registerRetry: { firstMs: 200, lastMs: 1000 },
  catchUpSpreadMs: 200,
  requestTimeoutMs: 1000,
  reconnectWaitMs: 100,
  reconnectJitterMs: 50,
} as const;

const LAST_WORDS = 25;

export async function startJobRig(options: JobRigOptions): Promise<JobRig> {
  const dir = await mkdtemp(join(tmpdir(), "evergrant rig-"));
  const sts = await startStsEmulator({
    clock: systemClock,
    random: systemRandom,
    ...options.sts,
    knobs: { lifetimeMs: options.lifetimeMs ?? 12_000, ...options.sts?.knobs },
  });
  const base = sts.baseCredentials;
  process.env["AWS_ACCESS_KEY_ID"] = base.accessKeyId;
  process.env["AWS_SECRET_ACCESS_KEY"] = base.secretAccessKey.reveal();
  const logs: string[] = [];
  onTestFailed(() => {
    // Why a job did not do what the test waited for is in what it said of itself; none of it is secret (I9).
    process.stderr.write(`the coordinator's last words:\n${logs.slice(-LAST_WORDS).join("")}\n`);
  });
  const closers: (() => Promise<unknown>)[] = [() => sts.stop()];
  onTestFinished(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    await rm(dir, { recursive: true, force: true });
  });
  const provider = (name: string): string =>
    `  - {name: ${name}, kind: aws-sts, action: AssumeRole, roleArn: "arn:aws:iam::123456789012:role/${name}", region: eu-west-1, durationSec: 3600, endpoint: "${sts.url}", callTimeoutSec: 3}`;
  let providers = options.providers ?? ["lake"];
  const text = (): string => `
job: ${options.job ?? "etl"}
runDir: ./run
${options.stores ?? `nats: {servers: ["${options.nats.url}"]}\nredis: {url: "${options.redis.url}"}`}
${options.yaml ?? FAST}
${options.ratio === undefined ? "" : `renewal: {ratio: ${options.ratio}}`}
providers:
${providers.map((p) => (p.includes(":") ? p : provider(p))).join("\n")}
`;
  const joinFile = join(dir, "run", "join.json");
  return {
    sts,
    dir,
    joinFile,
    logs,
    issued: () => sts.count("AssumeRole", "ok"),
    async coordinator(launch = {}) {
      const handle = await launchCoordinator(parseJobConfig(text(), { dir }), {
        logger: memoryLogger(logs),
        ...launch,
      });
      closers.push(() => handle.handOver());
      return handle;
    },
    async agent(given = {}) {
      const membership = await joinJob({ joinFile, timings: FAST_AGENT, ...given });
      closers.push(() => membership.close());
      return membership;
    },
    async sidecar(given = {}) {
      const agent = await startAgent({
        joinFile,
        configDir: dir,
        ...given,
        config: { timings: FAST_AGENT, ...given.config },
      });
      closers.push(() => agent.close());
      return agent;
    },
    configure(given) {
      providers = given;
    },
    atEnd: (close) => void closers.push(close),
  };
}

/** Keeps every line, at every level. */
export function memoryLogger(lines: string[]): Logger {
  const logger = (facts: object): Logger => {
    const say = (level: string) => (more: object, message: string) => {
      lines.push(JSON.stringify({ level, message, ...facts, ...more }));
    };
    return {
      debug: say("debug"),
      info: say("info"),
      warn: say("warn"),
      error: say("error"),
      child: (more) => logger({ ...facts, ...more }),
    };
  };
  return logger({});
}

/** Resolves with the first credential of at least this generation. */
export async function generationAt(agent: JobMembership, generation: number): Promise<Credential> {
  for await (const credential of agent.credentials()) {
    if (credential.generation >= generation) return credential;
  }
  throw new Error("the agent was closed");
}

/** The longest time, in milliseconds, in which the agent had no valid credential, looked at every 20 ms until `stop`. */
export function watchForGaps(agent: JobMembership, provider: string): { stop(): number } {
  let longest = 0;
  let since: number | undefined;
  const look = (): void => {
    const now = systemClock.now().mono;
    if (agent.current(provider) === undefined) {
      since ??= now;
      longest = Math.max(longest, now - since);
    } else since = undefined;
    cancel = systemClock.timer(20 as Parameters<typeof systemClock.timer>[0], look);
  };
  let cancel = (): void => undefined;
  look();
  return {
    stop() {
      cancel();
      return longest;
    },
  };
}
