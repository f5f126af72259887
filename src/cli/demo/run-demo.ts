/**
 * One demo from its first process to its report: emulated issuers with short lifetimes, a coordinator
 * with private servers, agents, an SDK client that never pauses, and a forced rotation. Owns the
 * order of things and their end; what is measured and judged is report.ts's.
 */
import { mkdir, mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { connectOperator, type OperatorClient } from "../../operator/operator-client.ts";
import type { JobStatus } from "../../protocol/control.ts";
import { EvergrantError } from "../../protocol/errors.ts";
import { between, type DurationMs, durationMs, seconds } from "../../protocol/time.ts";
import { deferred } from "../deferred.ts";
import type { CliIo } from "../io.ts";
import {
  type DemoChild,
  endChildren,
  endedTooSoon,
  evergrantCommand,
  startDemoChild,
} from "./children.ts";
import { type DemoIssuers, type DemoProvider, startDemoIssuers } from "./issuers.ts";
import { DEMO_REGION, type DemoFiles, writeDemoFiles } from "./job.ts";
import { endLeftServers } from "./left-servers.ts";
import { type Progress, startProgress } from "./progress.ts";
import { type ClientTotals, type DemoReport, reportOf } from "./report.ts";
import { type RotationLog, rotationLog } from "./rotation-log.ts";

export interface DemoOptions {
  /** 1 to 1000. */
  readonly agents: number;
  /** Whose credentials are shown. */
  readonly provider: DemoProvider;
  /** What the emulators issue. */
  readonly lifetime: DurationMs;
  /** From the first applied credential on. */
  readonly duration: DurationMs;
  /** Kept when named here; else a temporary one that is removed. */
  readonly runDir?: string | undefined;
}

/** As many agents have a process each; all others share one. */
const OWN_PROCESS = 5;
const LOOK = durationMs(250);
const START_LIMIT = seconds(120);

/** @throws EvergrantError; nothing is left running, whatever happens. `interrupted` rejects to stop it. */
export async function runDemo(
  options: DemoOptions,
  io: CliIo,
  interrupted: Promise<never>,
): Promise<DemoReport> {
  const own = options.runDir === undefined;
  const runDir = await makeRunDir(options.runDir, io);
  const progress = startProgress(io, io.clock);
  const issuers = await startDemoIssuers(options.provider, options.lifetime, runDir, io);
  const children: DemoChild[] = [];
  try {
    const life = `lifetimes of ${options.lifetime / 1000} s`;
    for (const place of issuers.places) progress.line(`${place}, ${life}`);
    progress.line(`run folder ${runDir}`);
    const files = await writeDemoFiles(runDir, issuers);
    const demo: Demo = { options, io, progress, issuers, children, files, client: {} };
    return await Promise.race([play(demo), interrupted]);
  } finally {
    progress.line("ending every process");
    await endChildren(children, io.clock, seconds(15));
    await issuers.stop();
    endLeftServers(runDir);
    if (own) await rm(runDir, { recursive: true, force: true });
  }
}

interface Demo {
  readonly options: DemoOptions;
  readonly io: CliIo;
  readonly progress: Progress;
  readonly issuers: DemoIssuers;
  readonly children: DemoChild[];
  readonly files: DemoFiles;
  readonly client: { totals?: ClientTotals };
}

async function play(demo: Demo): Promise<DemoReport> {
  const { options, io, progress, files } = demo;
  const { clock } = io;
  // Agents wait for their join file: so they are there when the first credential is.
  const [consumer] = startAgents(demo);
  const coordinator = await startCoordinator(demo);
  const everyone = Promise.race(demo.children.map(endedTooSoon));
  const operator = await connectOperator(files.operatorFile, { clock, random: io.random });
  try {
    const log = rotationLog();
    const look = async (): Promise<JobStatus> => {
      const status = await operator.status();
      for (const rotation of log.take(status)) progress.rotation(rotation, options.agents);
      progress.heartbeat(status, options.agents, demo.client.totals);
      return status;
    };
    const until = (limit: DurationMs, what: string, holds: (status: JobStatus) => boolean) =>
      Promise.race([waitUntil(demo, look, limit, what, holds), everyone]);

    await until(START_LIMIT, "the first agent to apply a credential", ({ agents, generation }) => {
      return generation > 0 && agents.upToDate > 0;
    });
    const began = clock.now().mono;
    const elapsed = (): DurationMs => between(began, clock.now().mono);
    progress.line(`first credential applied; ${options.duration / 1000} s from now on`);

    const half = () => elapsed() >= options.duration / 2;
    await until(START_LIMIT, "all agents and the client", ({ agents }) => {
      return agents.live >= options.agents && demo.client.totals !== undefined && half();
    });
    progress.line("forcing a rotation");
    const forced = operator.rotate({ text: "demo: forced in the middle", wait: seconds(60) });
    forced.catch(() => undefined);
    await until(seconds(120), "the end of the forced rotation", settledBy(forced));
    const { state } = await forced;
    progress.line(`the forced rotation is ${state}`);
    const rest = durationMs(options.duration + 60_000);
    await until(rest, "the end of the demo", () => elapsed() >= options.duration);

    const issuerCalls = await settle(demo, look, log);
    const refusals = await countRefused(operator);
    const durationMeasured = elapsed();
    consumer?.signal("SIGTERM");
    await consumer?.ended;
    progress.line("ending the job");
    await operator.end();
    await coordinator.ended;
    return reportOf({
      agents: options.agents,
      issuerCalls,
      refusals,
      rotations: log.all(),
      expected: log.expected,
      lifetimeMs: options.lifetime,
      durationMs: durationMeasured,
      client: demo.client.totals,
      credentialsUsed: demo.issuers.credentialsUsed(),
    });
  } finally {
    await operator.close();
  }
}

async function startCoordinator(demo: Demo): Promise<DemoChild> {
  const { files, io, progress } = demo;
  const { clock } = io;
  const ready = deferred<void>();
  progress.line("starting a coordinator with private NATS and Redis servers");
  const coordinator = startDemoChild({
    name: "coordinator",
    args: ["coordinator", "--config", files.config, "--with-parent", "--json"],
    logDir: files.logDir,
    env: io.env,
    onEvent(event) {
      if (event["event"] === "started") progress.line("the coordinator has started");
      if (event["event"] === "ready") ready.resolve();
    },
  });
  demo.children.push(coordinator);
  const late = new Promise<never>((_, reject) => {
    const cancel = clock.timer(START_LIMIT, () => {
      const message = `the coordinator is not ready: ${coordinator.lastWords}`;
      reject(new EvergrantError("START_TIMEOUT", message));
    });
    ready.promise.then(cancel, cancel);
  });
  await Promise.race([ready.promise, endedTooSoon(coordinator), late]);
  return coordinator;
}

/** The first of them starts the client, as `evergrant agent --exec` does for any consumer. */
function startAgents(demo: Demo): DemoChild[] {
  const { options, files, io, progress, issuers } = demo;
  const alone = Math.min(options.agents, OWN_PROCESS);
  progress.line(`starting ${options.agents} agent(s), the first one with an SDK client`);
  const start = (name: string, args: readonly string[]): DemoChild =>
    startDemoChild({
      name,
      args,
      logDir: files.logDir,
      env: io.env,
      onEvent(event) {
        if (event["event"] !== "client") return;
        if (demo.client.totals === undefined) progress.line("the SDK client makes its calls");
        demo.client.totals = event["totals"] as ClientTotals;
      },
    });
  const started: DemoChild[] = [];
  for (let number = 1; number <= alone; number += 1) {
    const name = `agent-${number}`;
    const common = ["agent", "--join", files.joinFile, "--name", name, "--with-parent"];
    const place = ["--state-dir", join(files.stateDir, name), "--json"];
    const client = [
      ...["demo-client", "--region", DEMO_REGION],
      ...(issuers.sts === undefined ? [] : ["--endpoint", issuers.sts.url]),
      ...(issuers.google === undefined ? [] : ["--google-endpoint", issuers.google.emulator.url]),
    ];
    const exec =
      number === 1 ? ["--exec", "--", process.execPath, ...evergrantCommand(...client)] : [];
    started.push(start(name, [...common, ...place, ...exec]));
  }
  if (options.agents > alone) {
    const count = String(options.agents - alone);
    const herd = ["demo-agents", "--join", files.joinFile, "--state-dir", files.stateDir];
    started.push(start("agents", [...herd, "--first", String(alone + 1), "--count", count]));
  }
  demo.children.push(...started);
  return started;
}

/**
 * Looks until `holds`; a coordinator that is silent for a moment is asked again.
 * @throws EvergrantError START_TIMEOUT
 */
async function waitUntil(
  { io: { clock } }: Demo,
  look: () => Promise<JobStatus>,
  limit: DurationMs,
  what: string,
  holds: (status: JobStatus) => boolean,
): Promise<void> {
  const began = clock.now().mono;
  for (;;) {
    if (holds(await look())) return;
    if (between(began, clock.now().mono) >= limit) {
      throw new EvergrantError("START_TIMEOUT", `waited ${limit / 1000} s for ${what}`);
    }
    await new Promise<void>((resume) => void clock.timer(LOOK, resume));
  }
}

/** Whether a promise has settled, for those who look now and then. */
function settledBy(work: Promise<unknown>): () => boolean {
  let settled = false;
  const done = (): void => {
    settled = true;
  };
  work.then(done, done);
  return () => settled;
}

/**
 * Lets the last rotation come to its end, so that the counts are of one moment.
 * @returns the issuer calls at that moment
 */
async function settle(
  demo: Demo,
  look: () => Promise<JobStatus>,
  log: RotationLog,
): Promise<number> {
  const { clock } = demo.io;
  const began = clock.now().mono;
  for (;;) {
    const before = demo.issuers.calls();
    await look();
    const calls = demo.issuers.calls();
    const calm = before === calls && log.settled();
    const obtained = log.all().reduce((sum, { providers }) => sum + providers.length, 0);
    if (calm && obtained >= calls) return calls;
    if (between(began, clock.now().mono) >= seconds(10)) return calls;
    await new Promise<void>((resume) => void clock.timer(durationMs(100), resume));
  }
}

/** By code, over the coordinator and all agents. */
async function countRefused(operator: OperatorClient): Promise<Record<string, number>> {
  const [status, agents] = await Promise.all([operator.status(), operator.agents()]);
  const counts: Record<string, number> = {};
  for (const refused of [status.refused, ...agents.map((agent) => agent.refused)]) {
    for (const [code, count] of Object.entries(refused)) counts[code] = (counts[code] ?? 0) + count;
  }
  return counts;
}

async function makeRunDir(given: string | undefined, io: CliIo): Promise<string> {
  try {
    if (given === undefined) return await mkdtemp(join(await realpath(tmpdir()), "evergrant-"));
    const path = resolve(io.workingDir, given);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  } catch (cause) {
    throw EvergrantError.from(cause, "FILE_UNUSABLE", "creating the run folder");
  }
}
