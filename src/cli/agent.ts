/**
 * `evergrant agent`: joins a job and serves its credentials to this machine's consumers until it is
 * told to stop. With `--exec` it is the consumer's gate: the command starts once the first
 * credentials are applied, and its exit code is the agent's.
 */
import { resolve } from "node:path";
import type { Command } from "commander";
import { EvergrantError, EXIT } from "../protocol/errors.ts";
import { type DurationMs, seconds } from "../protocol/time.ts";
import type { Agent } from "../worker-agent/agent.ts";
import type { AgentConfigInput } from "../worker-agent/config.ts";
import type { ConsumerEnvironment } from "../worker-agent/ports/credential-receiver.ts";
import { durationOption, parseDuration, parseName } from "./arguments.ts";
import { deferred } from "./deferred.ts";
import { type CliIo, note, say } from "./io.ts";
import { onParentGone } from "./parent.ts";
import type { Finish } from "./program.ts";
import { exitCodeOfSignal, onStop, type StopSignal } from "./signals.ts";

interface AgentOptions {
  readonly join?: string;
  readonly config?: string;
  readonly name?: string;
  readonly stateDir?: string;
  readonly envFile?: string;
  readonly startTimeout: DurationMs;
  readonly readyTimeout?: DurationMs;
  readonly exec?: boolean;
  readonly withParent?: boolean;
  readonly logLevel?: string;
  readonly json?: boolean;
}

/** Nobody waits that long: readiness without a limit. */
const FOR_EVER: DurationMs = seconds(100 * 366 * 86_400);

export function registerAgent(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("agent")
    .description("serve a job's credentials to the consumers on this machine")
    .option("--join <file>", "the join file (default: $EVERGRANT_JOIN_FILE)")
    .option("--config <file>", "agent.yaml (default: every provider by its own convention)")
    .option("--name <name>", "the agent's name (default: the host's and a suffix)", parseName)
    .option("--state-dir <dir>", "keeps the agent's own key over restarts")
    .option("--env-file <file>", "write the consumers' environment there once ready, for `. FILE`")
    .addOption(
      durationOption("--start-timeout <duration>", "how long to wait for the join file", 60),
    )
    .option(
      "--ready-timeout <duration>",
      "fail when not ready by then (default: never)",
      parseDuration,
    )
    .option("--exec", "start the command after -- once ready, with its environment")
    .option("--with-parent", "stop when the process that started this one ends")
    .option(
      "--log-level <level>",
      "debug, info, warn or error; JSON lines on stderr (default: info, with --exec warn)",
    )
    .option("--json", "print JSON for other programs, one document a line")
    .argument("[command...]", "with --exec: the consumer")
    .action(async (command: string[], options: AgentOptions) => {
      if (options.exec === true && command.length === 0) {
        throw new EvergrantError("CONFIG_INVALID", "--exec: expected -- and a command after it");
      }
      if (options.exec !== true && command.length > 0) {
        throw new EvergrantError("CONFIG_INVALID", `${command[0]}: only --exec takes a command`);
      }
      finish(await run(command, options, io));
    });
}

async function run(command: readonly string[], options: AgentOptions, io: CliIo): Promise<number> {
  const stopped = deferred<StopSignal | "parent">();
  const releaseSignals = onStop(io, stopped.resolve, (signal) =>
    process.exit(exitCodeOfSignal(signal)),
  );
  const releaseParent =
    options.withParent === true
      ? onParentGone(io.clock, () => stopped.resolve("parent"))
      : () => undefined;
  let agent: Agent | undefined;
  try {
    const starting = start(options, io);
    const first = await Promise.race([starting, stopped.promise]);
    if (typeof first === "string") {
      // What is still starting ends with the process.
      return exitCodeOfStop(first, options);
    }
    agent = first;
    tell(io, options, "started", `agent ${agent.agent} of ${agent.tenant}/${agent.job} started`, {
      tenant: agent.tenant,
      job: agent.job,
      agent: agent.agent,
      instance: agent.instance,
      ...(agent.statusUrl === undefined ? {} : { statusUrl: agent.statusUrl }),
    });
    const gate = agent.ready(options.readyTimeout ?? FOR_EVER).then(() => "ready" as const);
    const passed = await Promise.race([gate, stopped.promise]);
    if (passed !== "ready") {
      gate.catch(() => undefined);
      return exitCodeOfStop(passed, options);
    }
    const environment = await announce(agent, options, io);
    if (options.exec !== true || environment === undefined) {
      return exitCodeOfStop(await stopped.promise, options);
    }
    // From here on the consumer has the signals, and the agent lives as long as it does.
    releaseSignals();
    return await runConsumer(command, environment, stopped.promise, io);
  } finally {
    releaseSignals();
    releaseParent();
    await agent?.close();
  }
}

async function start(options: AgentOptions, io: CliIo): Promise<Agent> {
  const { startAgent } = await import("../worker-agent/agent.ts");
  const { createLogger, LOG_LEVELS } = await import("../runtime/logger.ts");
  // A consumer's terminal is the consumer's.
  const wanted = options.logLevel ?? (options.exec === true ? "warn" : "info");
  const level = LOG_LEVELS.find((known) => known === wanted);
  if (level === undefined) {
    throw new EvergrantError("CONFIG_INVALID", "--log-level: expected debug, info, warn or error");
  }
  const at = (path: string): string => resolve(io.workingDir, path);
  const read =
    options.config === undefined
      ? { config: {}, dir: io.workingDir }
      : await (await import("./agent-config.ts")).readAgentConfig(at(options.config));
  const config: AgentConfigInput = {
    ...read.config,
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.stateDir === undefined ? {} : { stateDir: at(options.stateDir) }),
  };
  const join = options.join ?? (io.env["EVERGRANT_JOIN_FILE"] || undefined);
  return await startAgent({
    ...(join === undefined ? {} : { joinFile: at(join) }),
    config,
    configDir: read.dir,
    startTimeoutMs: options.startTimeout,
    logger: createLogger({ name: "agent", level }),
    clock: io.clock,
    random: io.random,
  });
}

/** Writes the environment where it is wanted, and says that the agent is ready. */
async function announce(
  agent: Agent,
  options: AgentOptions,
  io: CliIo,
): Promise<ConsumerEnvironment | undefined> {
  const parts = agent.environments();
  let environment: ConsumerEnvironment | undefined;
  // Merged only where it is used: two providers of one sort need a default one only then.
  if (options.exec === true || options.envFile !== undefined) {
    const { mergeEnvironments } = await import("../worker-agent/consumer/environment.ts");
    environment = mergeEnvironments(
      parts.map((part) => ({
        provider: part.provider,
        receiver: part.kind,
        environment: part.environment,
      })),
      { defaultProvider: agent.defaultProvider },
    );
  }
  if (options.envFile !== undefined && environment !== undefined) {
    const { writeEnvFile } = await import("../worker-agent/consumer/env-file.ts");
    await writeEnvFile(resolve(io.workingDir, options.envFile), environment, io.random);
  }
  const serving = parts.map(({ provider, kind }) => ({ provider, receiver: kind }));
  const words = serving.map(({ provider, receiver }) => `${provider} by ${receiver}`).join(", ");
  tell(io, options, "ready", `ready: ${words || "nothing to serve"}`, { serving });
  return environment;
}

async function runConsumer(
  command: readonly string[],
  environment: ConsumerEnvironment,
  stopped: Promise<StopSignal | "parent">,
  io: CliIo,
): Promise<number> {
  const { appliedTo } = await import("../worker-agent/consumer/environment.ts");
  const { startChild } = await import("../worker-agent/consumer/exec-child.ts");
  const child = startChild({
    command,
    env: appliedTo(io.env, environment),
    signals: io.signals as NodeJS.Process,
  });
  stopped.then(
    () => child.signal("SIGTERM"),
    () => undefined,
  );
  const { exitCode, message } = await child.ended;
  if (message !== undefined) note(io, `evergrant: ${message}`);
  return exitCode;
}

/** Being told to stop is a good end for a service, and a failure for a command that was never started. */
function exitCodeOfStop(why: StopSignal | "parent", { exec }: AgentOptions): number {
  if (exec !== true) return EXIT.done;
  return why === "parent" ? EXIT.failed : exitCodeOfSignal(why);
}

/** With `--exec` stdout is the consumer's. */
function tell(
  io: CliIo,
  { exec, json }: AgentOptions,
  event: string,
  words: string,
  facts: object,
): void {
  const line = json === true ? JSON.stringify({ event, ...facts }) : words;
  if (exec === true) note(io, line);
  else say(io, line);
}
