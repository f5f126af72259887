/**
 * Judges a Redis before the schedule is trusted to it: old versions, and settings under which it
 * drops what it was given. Owns what evergrant asks of a Redis; refuses to change a setting.
 */
import { EvergrantError } from "../../../protocol/errors.ts";
import { type Clock, durationMs } from "../../../protocol/time.ts";
import {
  isRedisAnswer,
  type RedisClient,
  type RedisEndpoint,
  redisFault,
} from "../redis-connection.ts";
import { bounded } from "./bounded.ts";

export interface RedisFindings {
  /** As the server tells it, e.g. `7.0.15`. */
  readonly version: string;
  /** What an operator should mend; one sentence each. Empty: all is well. */
  readonly warnings: readonly string[];
}

const OLDEST = [5, 0] as const;
const RECOMMENDED = [6, 2] as const;
const LIMIT = durationMs(5_000);

/**
 * Connects, asks and disconnects, within 5 s.
 *
 * @throws EvergrantError `QUEUE_UNAVAILABLE` when Redis does not answer or lets nobody in;
 *   `BROKER_UNFIT` when it is older than 5.0.
 */
export async function inspectRedis(redis: RedisEndpoint, clock: Clock): Promise<RedisFindings> {
  const client = redis.open("producer");
  try {
    return await bounded(inspect(client), clock, LIMIT, `asking ${redis.address}`);
  } catch (error) {
    throw redisFault(error, `asking ${redis.address}`);
  } finally {
    client.disconnect();
  }
}

async function inspect(client: RedisClient): Promise<RedisFindings> {
  await ready(client);
  const facts = parseInfo(await client.info());
  const version = facts.get("redis_version") ?? "";
  if (!atLeast(version, OLDEST)) {
    throw new EvergrantError(
      "BROKER_UNFIT",
      `Redis 5.0 or newer is needed, and this one is ${version === "" ? "of no known version" : version}`,
      { details: { version } },
    );
  }
  const warnings: string[] = [];
  if (!atLeast(version, RECOMMENDED)) {
    warnings.push(`Redis ${version} is old: 6.2 or newer is recommended.`);
  }
  const policy = facts.get("maxmemory_policy") ?? (await policyByConfig(client));
  if (policy === undefined) {
    warnings.push("Redis does not tell its maxmemory-policy: see to it that it is noeviction.");
  } else if (policy !== "noeviction") {
    warnings.push(
      `maxmemory-policy is ${policy}: Redis may drop planned renewals when memory is short; set it to noeviction.`,
    );
  }
  if (facts.get("aof_enabled") === "0") {
    warnings.push(
      "appendonly is off: a restart of Redis loses planned renewals until they are put back; set appendonly yes.",
    );
  }
  return { version, warnings };
}

/** Undefined when Redis does not let us ask, as managed ones do not. */
async function policyByConfig(client: RedisClient): Promise<string | undefined> {
  try {
    const answer = await client.config("GET", "maxmemory-policy");
    return Array.isArray(answer) && typeof answer[1] === "string" ? answer[1] : undefined;
  } catch (error) {
    if (isRedisAnswer(error)) return undefined;
    throw error;
  }
}

function ready(client: RedisClient): Promise<void> {
  if (client.status === "ready") return Promise.resolve();
  return new Promise((resolve, reject) => {
    client.once("ready", () => resolve());
    client.once("error", reject);
  });
}

function parseInfo(text: string): Map<string, string> {
  const facts = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0) facts.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return facts;
}

function atLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const match = /^(\d+)\.(\d+)/.exec(version);
  if (match === null) return false;
  const [ours, theirs] = [Number(match[1]), Number(match[2])];
  return ours > major || (ours === major && theirs >= minor);
}
