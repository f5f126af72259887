/**
 * Connections to the Redis of the configuration: single, behind Sentinels, or a Cluster.
 * Owns how each role connects, waits and comes back (messaging reference, 9.2) and what an error of
 * Redis may say about itself; refuses to know what is kept there.
 */
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { Cluster, Redis, type RedisOptions } from "ioredis";
import { type ErrorCode, EvergrantError } from "../../protocol/errors.ts";
import { Secret } from "../../protocol/secret.ts";
import { parseRedisUrl, type RedisConfig, type RedisUrl } from "./redis-config.ts";

/**
 * - `producer`: fails at once while Redis is away, and after 2 s when Redis does not answer; the
 *   outcome of such a command is unknown.
 * - `worker`: waits for Redis as long as it takes; may block for 10 s.
 */
export type RedisRole = "producer" | "worker";

export type RedisClient = Redis | Cluster;

/** Where Redis is and how to get in. Holds the secrets; shows none. */
export interface RedisEndpoint {
  /** For logs: scheme, host, port and database; no user and no password. */
  readonly address: string;
  /**
   * Starts connecting in the background and returns at once, also when Redis is away. The client
   * reconnects for ever, at least once a second, and has a handler for its errors. `disconnect()`
   * ends it. `passwordFile` is read again before every connect (not in a Cluster).
   */
  open(role: RedisRole): RedisClient;
}

/** @throws EvergrantError `FILE_UNUSABLE` naming the file that cannot be read. */
export function redisEndpoint(config: RedisConfig): RedisEndpoint {
  const url = config.url === undefined ? undefined : parseRedisUrl(config.url);
  if (typeof url === "string") throw new EvergrantError("CONFIG_INVALID", `redis.url: ${url}`);
  const files = tlsFiles(config);
  const password = passwordOf(config, url);
  password?.(); // A missing file is a fault at start, not at the first reconnect.
  const user = config.username ?? url?.username ?? "";
  const auth: RedisOptions = {
    ...(user === "" ? {} : { username: user }),
    db: url?.database ?? config.database ?? 0,
  };
  const secure = url?.tls ?? config.tls ?? false;
  const common: RedisOptions = { ...auth, ...(secure ? { tls: files } : {}) };

  if (config.sentinel !== undefined) {
    const { name, nodes, username, passwordFile, tls } = config.sentinel;
    const sentinels = nodes.map(hostAndPort);
    const sentinelPassword = passwordFile === undefined ? undefined : readSecret(passwordFile);
    const options: RedisOptions = {
      ...common,
      name,
      sentinels,
      ...(username === undefined ? {} : { sentinelUsername: username }),
      ...(sentinelPassword === undefined ? {} : { sentinelPassword: sentinelPassword.reveal() }),
      ...(tls ? { enableTLSForSentinelMode: true, sentinelTLS: files } : {}),
    };
    return {
      address: `sentinel:${name}@${nodes.join(",")}/${common.db}`,
      open: (role) => guarded(new FreshPasswordRedis({ ...options, ...ROLES[role] }, password)),
    };
  }
  const { host, port } = url ?? { host: "", port: 0 };
  const address = `redis${secure ? "s" : ""}://${host.includes(":") ? `[${host}]` : host}:${port}/${common.db}`;
  if (!config.cluster) {
    const options: RedisOptions = { ...common, host, port };
    return {
      address,
      open: (role) => guarded(new FreshPasswordRedis({ ...options, ...ROLES[role] }, password)),
    };
  }
  return {
    address: `cluster:${address}`,
    open: (role) => {
      const { enableOfflineQueue, retryStrategy, ...redisOptions } = ROLES[role];
      const secret = password?.().reveal();
      return guarded(
        new Cluster([{ host, port }], {
          enableOfflineQueue: enableOfflineQueue ?? true,
          clusterRetryStrategy: retryEverySecond,
          redisOptions: {
            ...common,
            ...redisOptions,
            ...(secret === undefined ? {} : { password: secret }),
          },
        }),
      );
    },
  };
}

/**
 * What went wrong at Redis, told by its code alone. The original is not kept as a cause: ioredis
 * hangs the command and its arguments, the password among them, on its errors (I9).
 */
export function redisFault(
  thrown: unknown,
  doing: string,
  code: ErrorCode = "QUEUE_UNAVAILABLE",
): EvergrantError {
  if (thrown instanceof EvergrantError) return thrown;
  const reason = reasonOf(thrown);
  return new EvergrantError(code, `${doing} failed (${reason})`, { details: { reason } });
}

/** True for an answer that Redis gave, as opposed to a lost or silent connection. */
export function isRedisAnswer(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === "ReplyError";
}

function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return typeof thrown;
  const { code } = thrown as Error & { code?: unknown };
  if (typeof code === "string" && /^[A-Z0-9_]{2,40}$/.test(code)) return code;
  // An error reply of Redis starts with its code by protocol (RESP): NOPERM, OOM, READONLY.
  const reply = isRedisAnswer(thrown) ? /^[A-Z]{2,20}\b/.exec(thrown.message)?.[0] : undefined;
  return reply ?? thrown.name;
}

const retryEverySecond = (attempt: number): number => Math.min(100 * attempt, 1000);

/** Replies in the shapes that BullMQ knows. */
type Options = RedisOptions & { readonly replyMapping: "legacy" };

const ALL_ROLES: Options = {
  retryStrategy: retryEverySecond,
  enableReadyCheck: true,
  // After a failover the old master answers READONLY: connect anew, to the new one, and send again.
  reconnectOnError: (error) => (error.message.startsWith("READONLY") ? 2 : false),
  connectTimeout: 5_000,
  // RESP2 is what every version speaks, so that nothing is negotiated; none of RESP3 is needed.
  protocol: 2,
  replyMapping: "legacy",
  disableClientInfo: true,
};

const ROLES: Record<RedisRole, Options> = {
  producer: {
    ...ALL_ROLES,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: 2_000,
    // A host that went away without a word is given up long before TCP does.
    socketTimeout: 5_000,
  },
  worker: {
    ...ALL_ROLES,
    enableOfflineQueue: true,
    maxRetriesPerRequest: null,
    // Longer than the longest blocking read, which is 10 s.
    socketTimeout: 15_000,
  },
};

type ReadPassword = () => Secret<string>;

/** Reads the password anew for every connect, so that a rotated one needs no restart. */
class FreshPasswordRedis extends Redis {
  readonly #password: ReadPassword | undefined;

  constructor(options: Options, password: ReadPassword | undefined) {
    super({ ...options, lazyConnect: true });
    this.#password = password;
    // BullMQ makes its blocking connection of a copy, which must read the file too.
    this.duplicate = ((override: RedisOptions = {}) =>
      new FreshPasswordRedis(
        { ...options, ...override, replyMapping: "legacy" },
        password,
      )) as Redis["duplicate"];
    this.connect().catch(() => undefined); // The 'error' event tells it too, and it tries again.
  }

  override connect(callback?: (error?: Error | null) => void): Promise<void> {
    try {
      const password = this.#password?.().reveal();
      if (password !== undefined) this.options.password = password;
    } catch {
      // The file is being replaced: the last password serves for one more try.
    }
    return super.connect(callback as () => void);
  }
}

function guarded<T extends RedisClient>(client: T): T {
  client.on("error", () => undefined); // Whoever opened it adds the handler that tells of it.
  return client;
}

function passwordOf(config: RedisConfig, url: RedisUrl | undefined): ReadPassword | undefined {
  const { passwordFile } = config;
  if (passwordFile !== undefined) return () => readSecret(passwordFile);
  if (url === undefined || url.password === "") return undefined;
  const secret = new Secret(url.password);
  return () => secret;
}

function tlsFiles(config: RedisConfig): ConnectionOptions {
  const { caFile, certFile, keyFile, serverName } = config;
  return {
    ...(caFile === undefined ? {} : { ca: read(caFile) }),
    ...(certFile === undefined ? {} : { cert: read(certFile) }),
    ...(keyFile === undefined ? {} : { key: read(keyFile) }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

function readSecret(file: string): Secret<string> {
  return new Secret(
    read(file)
      .toString("utf8")
      .replace(/[\r\n]+$/, ""),
  );
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as { code?: unknown };
    const reason = typeof code === "string" ? code : "unknown";
    throw new EvergrantError("FILE_UNUSABLE", `${file} cannot be read (${reason})`);
  }
}

function hostAndPort(node: string): { host: string; port: number } {
  const at = node.lastIndexOf(":");
  return { host: node.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(node.slice(at + 1)) };
}
