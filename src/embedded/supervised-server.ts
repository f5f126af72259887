/**
 * One server process from start to stop: adopts or ends what an earlier run left, starts, waits for
 * a real answer, and starts it again on the same port when it dies.
 * Owns the process; refuses to know whether it is NATS or Redis (the recipe says so).
 *
 *   starting -> up -> (died -> backing off -> starting)* -> stopped
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { EvergrantError } from "../protocol/errors.ts";
import { between, type Clock, type DurationMs, durationMs, seconds } from "../protocol/time.ts";
import { freePort, isFree } from "./answers.ts";
import { commandLine, endProcess, isAlive, pause, signal } from "./processes.ts";
import { writeOwnFile } from "./servers-file.ts";

/** What makes a server NATS or Redis. */
export interface ServerRecipe {
  readonly name: "nats" | "redis";
  readonly command: string;
  readonly args: readonly string[];
  readonly configFile: string;
  readonly logFile: string;
  /** The server writes its process id there itself, so that no crash of ours can lose it. */
  readonly pidFile: string;
  readonly config: (port: number) => string;
  /** Whether our server, and no stranger, answers at the port. `pid` is the process that should. */
  readonly answers: (port: number, pid: number) => Promise<boolean>;
  /** Cut out of log lines before they go into an error's message (I9). */
  readonly secrets: readonly string[];
}

/** What happened to a server, for logs. */
export interface ServerEvent {
  readonly kind: "started" | "adopted" | "leftover-ended" | "moved" | "died" | "restart-failed";
  readonly server: "nats" | "redis";
  readonly port: number;
  readonly pid?: number;
}

export interface SupervisionOptions {
  readonly clock: Clock;
  /** The port of the last run, which clients still know. */
  readonly keptPort?: number;
  readonly keptPid?: number;
  /** For the first real answer. */
  readonly startTimeout: DurationMs;
  readonly onEvent: (event: ServerEvent) => void;
}

export interface SupervisedServer {
  readonly port: number;
  /** Process id; undefined between a death and the restart. */
  readonly pid: () => number | undefined;
  /** Ends the server and its supervision. May be called again. */
  readonly stop: () => Promise<void>;
}

const STOP_GRACE = seconds(10);
const POLL = durationMs(25);
const WATCH = durationMs(500);
const FIRST_BACKOFF = durationMs(100);
const LONGEST_BACKOFF = seconds(5);
/** Port attempts on the first start. Between finding a free port and the bind, others may be faster. */
const PORT_ATTEMPTS = 5;

/** @throws EvergrantError `SERVER_START_FAILED` with the end of the server's log. */
export async function superviseServer(
  recipe: ServerRecipe,
  options: SupervisionOptions,
): Promise<SupervisedServer> {
  const { clock, onEvent } = options;
  let pid = await adoptOrEnd(recipe, options);
  let port = options.keptPort ?? (await freePort());
  const tell = (kind: ServerEvent["kind"]): void =>
    onEvent({ kind, server: recipe.name, port, ...(pid === undefined ? {} : { pid }) });

  for (let attempt = 1; pid === undefined; attempt += 1) {
    pid = await launch(recipe, port, options);
    if (pid !== undefined) {
      tell("started");
    } else if (attempt < PORT_ATTEMPTS && !(await isFree(port))) {
      port = await freePort();
      tell("moved");
    } else {
      throw startFailed(recipe);
    }
  }

  let stopped = false;
  const supervise = async (): Promise<void> => {
    let backoff = FIRST_BACKOFF;
    while (!stopped) {
      while (!stopped && pid !== undefined && isAlive(pid)) await watchPause();
      if (stopped) return;
      tell("died");
      pid = undefined;
      await watchPause(backoff);
      if (stopped) return;
      const again = await launch(recipe, port, options, () => stopped);
      if (again === undefined) {
        tell("restart-failed");
        backoff = durationMs(Math.min(backoff * 2, LONGEST_BACKOFF));
      } else {
        pid = again;
        backoff = FIRST_BACKOFF;
        tell("started");
      }
    }
  };
  let wake: () => void = () => undefined;
  const watchPause = (length: DurationMs = WATCH): Promise<void> =>
    new Promise((resolve) => {
      const cancel = clock.timer(length, resolve, true);
      wake = () => {
        cancel();
        resolve();
      };
    });

  // The last resort of a process that leaves without calling stop().
  const onExit = (): void => {
    if (pid !== undefined) signal(pid, "SIGTERM");
  };
  process.once("exit", onExit);
  const supervision = supervise();
  return {
    port,
    pid: () => pid,
    stop: async () => {
      stopped = true;
      wake();
      await supervision;
      if (pid !== undefined) await endProcess(pid, clock, STOP_GRACE);
      pid = undefined;
      process.removeListener("exit", onExit);
    },
  };
}

/** The process that an earlier run left, if it is ours, fit and answering; else it is ended. */
async function adoptOrEnd(
  recipe: ServerRecipe,
  { clock, keptPort, keptPid, onEvent }: SupervisionOptions,
): Promise<number | undefined> {
  const candidates = new Set([keptPid, Number(readText(recipe.pidFile)?.trim())]);
  for (const pid of candidates) {
    if (pid === undefined || !(pid > 0) || !isAlive(pid)) continue;
    // Process ids are used again: only the path of our configuration file shows that it is ours.
    if (commandLine(pid)?.includes(recipe.configFile) !== true) continue;
    const fit = keptPort !== undefined && readText(recipe.configFile) === recipe.config(keptPort);
    if (fit && (await recipe.answers(keptPort, pid))) {
      onEvent({ kind: "adopted", server: recipe.name, port: keptPort, pid });
      return pid;
    }
    await endProcess(pid, clock, STOP_GRACE);
    onEvent({ kind: "leftover-ended", server: recipe.name, port: keptPort ?? 0, pid });
  }
  return undefined;
}

/** Starts the program and waits for its answer. Undefined when it ended, stayed silent or was given up. */
async function launch(
  recipe: ServerRecipe,
  port: number,
  { clock, startTimeout }: SupervisionOptions,
  givenUp: () => boolean = () => false,
): Promise<number | undefined> {
  writeOwnFile(recipe.configFile, recipe.config(port));
  const log = openSync(recipe.logFile, "a", 0o600);
  const child: ChildProcess = spawn(recipe.command, recipe.args, {
    // A terminal's Ctrl-C goes to the whole process group; ours must outlive our own orderly end.
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  child.once("error", () => undefined);
  child.unref();
  const { pid } = child;
  if (pid === undefined) return undefined;
  const since = clock.now().mono;
  while (child.exitCode === null && child.signalCode === null) {
    if (await recipe.answers(port, pid)) return pid;
    if (between(since, clock.now().mono) >= startTimeout || givenUp()) {
      await endProcess(pid, clock, durationMs(0));
      return undefined;
    }
    await pause(clock, POLL);
  }
  return undefined;
}

function startFailed(recipe: ServerRecipe): EvergrantError {
  let tail = (readText(recipe.logFile) ?? "").trimEnd().split("\n").slice(-8).join("\n");
  for (const secret of recipe.secrets) tail = tail.replaceAll(secret, "[secret]");
  return new EvergrantError(
    "SERVER_START_FAILED",
    `${recipe.command} did not start; the end of its log:\n${tail}`,
    { details: { server: recipe.name } },
  );
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
