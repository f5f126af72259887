/**
 * The `redis` part of a job's configuration: where the schedule is kept and how to get in.
 * Owns its shape and its faults; refuses to read a file or to open a connection.
 */
import * as z from "zod";

const NODE_PATTERN = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/;

const sentinelSchema = z
  .strictObject({
    name: z.string().min(1).describe("The master's name, as the Sentinels call it."),
    nodes: z
      .array(z.string().regex(NODE_PATTERN, "expected host:port"))
      .min(1)
      .describe("The Sentinels, each host:port."),
    username: z.string().min(1).optional().describe("For the Sentinels themselves."),
    passwordFile: z.string().min(1).optional().describe("For the Sentinels themselves."),
    tls: z.boolean().default(false).describe("Speak TLS to the Sentinels too."),
  })
  .describe("Redis behind Sentinels, in place of `url`.");

const fields = z.strictObject({
  url: z
    .string()
    .optional()
    .describe("redis:// or rediss:// (TLS), with an optional user, password and database number."),
  username: z.string().min(1).optional().describe("The ACL user. Default: that of `url`."),
  passwordFile: z
    .string()
    .min(1)
    .optional()
    .describe("File with the password, read again at every connect; trailing line ends are cut."),
  caFile: z
    .string()
    .min(1)
    .optional()
    .describe(
      "PEM of the authorities that the server's certificate may come from. Default: those of Node.js.",
    ),
  certFile: z
    .string()
    .min(1)
    .optional()
    .describe("PEM of our certificate, if the server asks for one. Needs `keyFile`."),
  keyFile: z.string().min(1).optional().describe("PEM of the key of `certFile`."),
  serverName: z
    .string()
    .min(1)
    .optional()
    .describe("The name in the server's certificate. Default: the host."),
  tls: z
    .boolean()
    .optional()
    .describe("With `sentinel`: speak TLS to the master. Elsewhere the scheme of `url` says it."),
  database: z
    .int()
    .min(0)
    .optional()
    .describe("With `sentinel`: the database number. Elsewhere it is the path of `url`."),
  sentinel: sentinelSchema.optional(),
  cluster: z.boolean().default(false).describe("`url` names one node of a Redis Cluster."),
});

/** What `redisConfigSchema` yields: either `url` or `sentinel` is there. */
export type RedisConfig = z.output<typeof fields>;

/** What a configuration file may hold. Every fault is named; no message quotes the URL. */
export const redisConfigSchema = fields.superRefine((config, context) => {
  for (const [field, message] of faultsOf(config)) {
    context.addIssue({ code: "custom", path: field === "" ? [] : [field], message });
  }
});

function* faultsOf(config: RedisConfig): Generator<readonly [field: string, message: string]> {
  const { url, sentinel } = config;
  if (url === undefined && sentinel === undefined) yield ["", "expected `url` or `sentinel`"];
  if (url !== undefined && sentinel !== undefined) {
    yield ["sentinel", "`url` and `sentinel` exclude each other"];
  }
  const parsed = url === undefined ? undefined : parseRedisUrl(url);
  if (typeof parsed === "string") yield ["url", parsed];
  if (typeof parsed === "object") {
    if (parsed.password !== "" && config.passwordFile !== undefined) {
      yield ["passwordFile", "the password stands in `url` already"];
    }
    if (parsed.username !== "" && config.username !== undefined) {
      yield ["username", "the user stands in `url` already"];
    }
    if (config.cluster && parsed.database !== 0)
      yield ["url", "a Redis Cluster has only database 0"];
  }
  if (sentinel === undefined) {
    for (const field of ["tls", "database"] as const) {
      if (config[field] !== undefined) yield [field, `\`${field}\` goes with \`sentinel\` only`];
    }
  } else if (config.cluster) yield ["cluster", "`cluster` and `sentinel` exclude each other"];
  const secure =
    sentinel === undefined
      ? typeof parsed === "object" && parsed.tls
      : config.tls === true || sentinel.tls;
  if (!secure && typeof parsed !== "string") {
    for (const field of ["caFile", "certFile", "keyFile", "serverName"] as const) {
      if (config[field] !== undefined) {
        yield [
          field,
          `\`${field}\` needs TLS: a rediss:// address, or \`tls: true\` with \`sentinel\``,
        ];
      }
    }
  }
  if ((config.certFile === undefined) !== (config.keyFile === undefined)) {
    yield ["keyFile", "`certFile` and `keyFile` go together"];
  }
}

/** A Redis URL in parts; decoded, and the password with it, so never log one. */
export interface RedisUrl {
  readonly tls: boolean;
  readonly host: string;
  /** Default 6379. */
  readonly port: number;
  /** Empty: none given. */
  readonly username: string;
  /** Empty: none given. */
  readonly password: string;
  /** Default 0. */
  readonly database: number;
}

/** The parts of a Redis URL, or what is wrong with it, in words that do not quote it. */
export function parseRedisUrl(text: string): RedisUrl | string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return "expected a URL such as rediss://redis.example.org:6379";
  }
  if (url.protocol !== "redis:" && url.protocol !== "rediss:") {
    return "expected the scheme redis:// or rediss://";
  }
  if (url.hostname === "") return "expected a host";
  const database = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  if (database === undefined) return "expected a database number, or nothing, as the path";
  if (url.search !== "" || url.hash !== "") return "expected no query and no fragment";
  const username = decoded(url.username);
  const password = decoded(url.password);
  if (username === undefined || password === undefined) {
    return "expected a user and a password that are percent-encoded rightly";
  }
  return {
    tls: url.protocol === "rediss:",
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? 6379 : Number(url.port),
    username,
    password,
    database: Number(database),
  };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
