/**
 * The configuration file of a private redis-server, as a pure function of its inputs.
 * Owns what BullMQ needs of a Redis (nothing may be evicted, what was added survives a restart);
 * refuses to know where it is written.
 */
import { atLeast, type ServerVersion } from "./find-server.ts";

export interface RedisConfigOptions {
  readonly version: ServerVersion;
  readonly port: number;
  /** Where the append-only file lives. Must exist. */
  readonly dir: string;
  /** Undefined: no authentication. */
  readonly password?: string;
  /** Where the server writes its process id. */
  readonly pidFile?: string;
  /** Further directives, each a whole line; the last one of a name wins. */
  readonly extra?: readonly string[];
}

/** The text of a redis-server configuration file (source: messaging reference, 9.1). */
export function redisConfig(options: RedisConfigOptions): string {
  const lines = [
    "bind 127.0.0.1",
    `port ${options.port}`,
    "protected-mode yes",
    `dir ${quoted(options.dir)}`,
    "daemonize no",
    "appendonly yes",
    "appendfsync everysec",
    'save ""',
    "maxmemory-policy noeviction",
  ];
  // Keeps the path of this file in the process's command line, by which a left-over is known again.
  if (atLeast(options.version, 6, 2)) lines.push("set-proc-title no");
  if (options.password !== undefined) lines.push(`requirepass ${quoted(options.password)}`);
  if (options.pidFile !== undefined) lines.push(`pidfile ${quoted(options.pidFile)}`);
  return `${[...lines, ...(options.extra ?? [])].join("\n")}\n`;
}

function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}
