/**
 * Private NATS and Redis on loopback, for a coordinator whose configuration names none: one machine,
 * one run folder, generated credentials. Owns the run folder's `nats/`, `redis/`, `servers.json` and
 * `servers.lock`; refuses to know who the NATS users are (the caller brings them as data).
 *
 * A later run with the same folder finds the same addresses, passwords and data.
 */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { EvergrantError } from "../protocol/errors.ts";
import type { Permissions } from "../protocol/permissions.ts";
import { Secret } from "../protocol/secret.ts";
import { type Clock, type DurationMs, type Random, seconds } from "../protocol/time.ts";
import { natsInfo, redisProcessId } from "./answers.ts";
import { findServer, requireServers } from "./find-server.ts";
import { natsConfig } from "./nats-config.ts";
import { redisConfig } from "./redis-config.ts";
import { lockRunFolder } from "./run-folder-lock.ts";
import { readServersFile, type ServersFile, writeServersFile } from "./servers-file.ts";
import {
  type ServerEvent,
  type ServerRecipe,
  type SupervisedServer,
  superviseServer,
} from "./supervised-server.ts";

/** A NATS user of the embedded server. */
export interface EmbeddedUser {
  readonly user: string;
  /** Default: generated at the first start, then kept in the run folder. */
  readonly password?: Secret<string>;
  /** Absent: everything is allowed. */
  readonly permissions?: Permissions;
}

export interface EmbeddedOptions {
  /** Created when missing, mode 0700. One living owner at a time. */
  readonly runDir: string;
  readonly clock: Clock;
  readonly random: Random;
  /** At least one. */
  readonly users: readonly EmbeddedUser[];
  /** For each server's first real answer; default 30 s. */
  readonly startTimeout?: DurationMs;
  /** What happens to the processes, for logs: adopted, died, started again. */
  readonly onEvent?: (event: ServerEvent) => void;
}

export interface EmbeddedServers {
  readonly nats: {
    /** `nats://127.0.0.1:port`, without credentials. */
    readonly url: string;
    readonly port: number;
    readonly pid: () => number | undefined;
    /** Password by user name. */
    readonly passwords: ReadonlyMap<string, Secret<string>>;
  };
  readonly redis: {
    /** With the password, fit for a client. */
    readonly url: Secret<string>;
    readonly port: number;
    readonly pid: () => number | undefined;
  };
  /** Ends both servers (SIGTERM, after 10 s SIGKILL) and gives the run folder back. May be called again. */
  readonly stop: () => Promise<void>;
}

/**
 * Starts or adopts both servers and returns once both answer.
 *
 * @throws EvergrantError `FILE_UNUSABLE` when another living process owns the run folder or it cannot
 * be written; `SERVER_START_FAILED` when a server is missing or does not answer in time.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedServers> {
  const runDir = resolve(options.runDir);
  try {
    for (const dir of ["", "nats/data", "redis/data"]) {
      mkdirSync(join(runDir, dir), { recursive: true, mode: 0o700 });
    }
  } catch (error) {
    throw EvergrantError.from(error, "FILE_UNUSABLE", `creating the run folder ${runDir}`);
  }
  const unlock = await lockRunFolder(runDir, options.clock);
  const running: SupervisedServer[] = [];
  const stopAll = async (): Promise<void> => {
    await Promise.all(running.map((server) => server.stop()));
    unlock();
  };
  try {
    return await start(options, runDir, running, stopAll);
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function start(
  options: EmbeddedOptions,
  runDir: string,
  running: SupervisedServer[],
  stop: () => Promise<void>,
): Promise<EmbeddedServers> {
  const { clock, random } = options;
  const kept = readServersFile(runDir);
  const password = (): string => Buffer.from(random.bytes(24)).toString("base64url");
  const users = Object.fromEntries(
    options.users.map(({ user, password: given }) => [
      user,
      given?.reveal() ?? kept?.nats.users[user] ?? password(),
    ]),
  );
  const redisPassword = kept?.redis.password ?? password();
  const serverName = kept?.nats.serverName ?? `evergrant-${password().slice(0, 8)}`;
  // Written again whenever a process changes; the first lines of it once both ports are known.
  let content: ServersFile | undefined;
  const onEvent = (event: ServerEvent): void => {
    if (content !== undefined && event.kind === "started") {
      content = { ...content, [event.server]: { ...content[event.server], pid: event.pid } };
      writeServersFile(runDir, content);
    }
    options.onEvent?.(event);
  };
  const launch = async (recipe: ServerRecipe): Promise<SupervisedServer> => {
    const last = kept?.[recipe.name];
    const server = await superviseServer(recipe, {
      clock,
      onEvent,
      startTimeout: options.startTimeout ?? seconds(30),
      ...(last === undefined ? {} : { keptPort: last.port }),
      ...(last?.pid === undefined ? {} : { keptPid: last.pid }),
    });
    running.push(server);
    return server;
  };
  requireServers(["nats-server", "redis-server"]);
  const [natsProgram, redisProgram] = await Promise.all([
    findServer("nats-server"),
    findServer("redis-server"),
  ]);
  const place = (name: "nats" | "redis") => ({
    name,
    configFile: join(runDir, name, `${name}.conf`),
    logFile: join(runDir, name, `${name}.log`),
    pidFile: join(runDir, name, `${name}.pid`),
  });
  const natsPlace = place("nats");
  const redisPlace = place("redis");
  const started = await Promise.allSettled([
    launch({
      ...natsPlace,
      command: natsProgram.path,
      args: ["-c", natsPlace.configFile],
      secrets: Object.values(users),
      config: (port) =>
        natsConfig({
          version: natsProgram.version,
          port,
          serverName,
          storeDir: join(runDir, "nats/data"),
          users: options.users.map(({ user, permissions }) => ({
            user,
            password: users[user] ?? "",
            ...(permissions === undefined ? {} : { permissions }),
          })),
          extra: { pid_file: natsPlace.pidFile },
        }),
      answers: async (port) => {
        const info = await natsInfo(port);
        return info?.serverName === serverName && info.jetstream;
      },
    }),
    launch({
      ...redisPlace,
      command: redisProgram.path,
      args: [redisPlace.configFile],
      secrets: [redisPassword],
      config: (port) =>
        redisConfig({
          version: redisProgram.version,
          port,
          dir: join(runDir, "redis/data"),
          password: redisPassword,
          pidFile: redisPlace.pidFile,
        }),
      answers: async (port, pid) =>
        (await redisProcessId({ port, password: redisPassword })) === pid,
    }),
  ]);
  const [nats, redis] = started;
  if (nats.status === "rejected") throw nats.reason;
  if (redis.status === "rejected") throw redis.reason;
  const natsUrl = `nats://127.0.0.1:${nats.value.port}`;
  const redisUrl = `redis://:${redisPassword}@127.0.0.1:${redis.value.port}`;
  content = {
    version: 1,
    nats: { url: natsUrl, port: nats.value.port, pid: nats.value.pid(), serverName, users },
    redis: {
      url: redisUrl,
      port: redis.value.port,
      pid: redis.value.pid(),
      password: redisPassword,
    },
  };
  writeServersFile(runDir, content);
  return {
    nats: {
      url: natsUrl,
      port: nats.value.port,
      pid: nats.value.pid,
      passwords: new Map(Object.entries(users).map(([user, word]) => [user, new Secret(word)])),
    },
    redis: { url: new Secret(redisUrl), port: redis.value.port, pid: redis.value.pid },
    stop,
  };
}
