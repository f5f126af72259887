/**
 * Real servers for tests: each on a free loopback port, in a folder of its own, ended with this process
 * at the latest. Owns their faults too (kill, freeze, wipe). In test files: servers.ts, which ends them
 * with the file.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, natsInfo, redisProcessId } from "../../src/embedded/answers.ts";
import { findServer } from "../../src/embedded/find-server.ts";
import { type NatsSetting, type NatsUser, natsConfig } from "../../src/embedded/nats-config.ts";
import { redisConfig } from "../../src/embedded/redis-config.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import type { TestTls } from "./tls.ts";

/** A server under the test's control. Every method settles once the state is really reached. */
export interface TestServer {
  /** `nats://127.0.0.1:port` or `redis://[:password@]127.0.0.1:port`; `tls://`, `rediss://` with TLS. */
  readonly url: string;
  readonly port: number;
  /** The folder that holds its configuration, log and data. */
  readonly dir: string;
  /** The configuration file; edit it and call `reload()` or `restart()`. */
  readonly configFile: string;
  /** Process id; changes with `restart()`; undefined while it is down. */
  readonly pid: () => number | undefined;
  /** What it wrote to its log so far. */
  readonly log: () => string;
  /** Graceful end (SIGTERM). Does nothing when it is down. */
  readonly stop: () => Promise<void>;
  /** SIGKILL, awaited. Does nothing when it is down. */
  readonly kill: () => Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  readonly freeze: () => void;
  /** SIGCONT. */
  readonly thaw: () => void;
  /** SIGHUP: nats-server reads its configuration again. */
  readonly reload: () => void;
  /** Starts it on the same port with the same data, ending it before (SIGTERM) if it is up. */
  readonly restart: () => Promise<void>;
  /** Kills it, deletes all of its data and starts it again on the same port. */
  readonly wipe: () => Promise<void>;
}

export interface TestNatsOptions {
  /** Speaks TLS (after a plaintext INFO line, as every server can). */
  readonly tls?: TestTls;
  /** With `tls`: clients must show a certificate of the same authority. Default false. */
  readonly verifyClients?: boolean;
  /** Absent: no authentication. */
  readonly users?: readonly NatsUser[];
  /** Default true. */
  readonly jetstream?: boolean;
  /** Further top-level settings of the configuration file. */
  readonly extra?: Readonly<Record<string, NatsSetting>>;
}

export interface TestRedisOptions {
  /** Speaks TLS only; client certificates are not asked for. */
  readonly tls?: TestTls;
  /** Absent: no authentication. Without white space or quotes. */
  readonly password?: string;
  /** Further lines of the configuration file. */
  readonly extra?: readonly string[];
}

const running = new Set<ChildProcess>();
const folders = new Set<string>();
const stops = new Set<() => Promise<void>>();

/** Ends all servers of this process and removes their folders. */
export async function endServers(): Promise<void> {
  await Promise.all([...stops].map((stop) => stop()));
  for (const dir of folders) rmSync(dir, { recursive: true, force: true });
}
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A real nats-server. @throws EvergrantError `SERVER_START_FAILED` when none is installed. */
export async function startNats(options: TestNatsOptions = {}): Promise<TestServer> {
  const program = await findServer("nats-server");
  const { tls, verifyClients = false } = options;
  const tlsSettings: Record<string, NatsSetting> =
    tls === undefined
      ? {}
      : {
          tls: {
            cert_file: tls.certFile,
            key_file: tls.keyFile,
            ca_file: tls.caFile,
            verify: verifyClients,
          },
        };
  return start({
    name: "nats",
    command: program.path,
    args: (configFile) => ["-c", configFile],
    url: (port) => `${tls === undefined ? "nats" : "tls"}://127.0.0.1:${port}`,
    config: (port, dataDir) =>
      natsConfig({
        version: program.version,
        port,
        serverName: `test-${port}`,
        users: options.users ?? [],
        ...(options.jetstream === false ? {} : { storeDir: dataDir }),
        extra: { ...tlsSettings, ...options.extra },
      }),
    answers: async (port) => (await natsInfo(port))?.serverName === `test-${port}`,
  });
}

/** A real redis-server. @throws EvergrantError `SERVER_START_FAILED` when none is installed. */
export async function startRedis(options: TestRedisOptions = {}): Promise<TestServer> {
  const program = await findServer("redis-server");
  const auth = options.password === undefined ? {} : { password: options.password };
  const { tls } = options;
  const trust = tls === undefined ? {} : { ca: readFileSync(tls.caFile, "utf8") };
  const tlsLines = (port: number): string[] =>
    tls === undefined
      ? []
      : [
          "port 0",
          `tls-port ${port}`,
          `tls-cert-file "${tls.certFile}"`,
          `tls-key-file "${tls.keyFile}"`,
          `tls-ca-cert-file "${tls.caFile}"`,
          "tls-auth-clients no",
        ];
  const userInfo = options.password === undefined ? "" : `:${options.password}@`;
  return start({
    name: "redis",
    command: program.path,
    args: (configFile) => [configFile],
    url: (port) => `${tls === undefined ? "redis" : "rediss"}://${userInfo}127.0.0.1:${port}`,
    config: (port, dir) =>
      redisConfig({
        version: program.version,
        port,
        dir,
        ...auth,
        extra: [...tlsLines(port), ...(options.extra ?? [])],
      }),
    answers: async (port, pid) => (await redisProcessId({ port, ...auth, ...trust })) === pid,
  });
}

interface Recipe {
  readonly name: string;
  readonly command: string;
  readonly args: (configFile: string) => readonly string[];
  readonly url: (port: number) => string;
  readonly config: (port: number, dataDir: string) => string;
  readonly answers: (port: number, pid: number | undefined) => Promise<boolean>;
}

/** Ports are taken by bind, and between `freePort()` and the bind somebody else may be faster. */
const START_ATTEMPTS = 4;

async function start(recipe: Recipe): Promise<TestServer> {
  for (let attempt = 1; ; attempt += 1) {
    const server = prepare(recipe, await freePort());
    try {
      await server.restart();
      return server;
    } catch (error) {
      if (attempt === START_ATTEMPTS) throw error;
    }
  }
}

function prepare(recipe: Recipe, port: number): TestServer {
  const dir = mkdtempSync(join(tmpdir(), `evergrant-test-${recipe.name}-`));
  folders.add(dir);
  const dataDir = join(dir, "data");
  const configFile = join(dir, `${recipe.name}.conf`);
  const logFile = join(dir, `${recipe.name}.log`);
  mkdirSync(dataDir);
  writeFileSync(configFile, recipe.config(port, dataDir), { mode: 0o600 });
  const log = (): string => readFileSync(logFile, "utf8");
  let child: ChildProcess | undefined;

  const end = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    const ending = child;
    if (ending === undefined) return;
    const gone = exited(ending);
    ending.kill("SIGCONT"); // a frozen process does not see SIGTERM
    ending.kill(signal);
    await gone;
  };
  const restart = async (): Promise<void> => {
    await end("SIGTERM");
    const output = openSync(logFile, "a", 0o600);
    const started = spawn(recipe.command, recipe.args(configFile), {
      stdio: ["ignore", output, output],
    });
    closeSync(output);
    child = started;
    running.add(started);
    started.once("error", () => undefined);
    started.once("exit", () => {
      running.delete(started);
      if (child === started) child = undefined;
    });
    while (!(await recipe.answers(port, started.pid))) {
      if (child !== started) throw new Error(`${recipe.name} ended while starting:\n${log()}`);
      await new Promise<void>((resolve) => void systemClock.timer(durationMs(10), resolve));
    }
  };
  const stop = (): Promise<void> => end("SIGTERM");
  const kill = (): Promise<void> => end("SIGKILL");
  stops.add(kill);
  return {
    url: recipe.url(port),
    port,
    dir,
    configFile,
    pid: () => child?.pid,
    log,
    stop,
    kill,
    freeze: () => {
      child?.kill("SIGSTOP");
      // The signal reaches each thread on its own; until then a request may still be answered.
      while (child?.pid !== undefined && !isStopped(child.pid));
    },
    thaw: () => void child?.kill("SIGCONT"),
    reload: () => void child?.kill("SIGHUP"),
    restart,
    wipe: async () => {
      await kill();
      rmSync(dataDir, { recursive: true, force: true });
      mkdirSync(dataDir);
      await restart();
    },
  };
}

function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once("exit", () => resolve()));
}

/** Whether all threads of a process stand still. Without /proc: whether the process does. */
function isStopped(pid: number): boolean {
  const state = (stat: string): string | undefined => stat.slice(stat.lastIndexOf(")") + 2)[0];
  if (!existsSync("/proc/self/task")) {
    const said = execFileSync("ps", ["-o", "state=", "-p", String(pid)], { encoding: "utf8" });
    return said.trim().startsWith("T");
  }
  return readdirSync(`/proc/${pid}/task`).every(
    (thread) => state(readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8")) === "T",
  );
}
