/** What the tests of the queue on a real Redis share. */
import { Redis } from "ioredis";
import { afterEach } from "vitest";
import { openBullQueue } from "../../../src/coordinator/adapters/bullmq-queue/bull-queue.ts";
import { redisConfigSchema } from "../../../src/coordinator/adapters/redis-config.ts";
import {
  type RedisEndpoint,
  redisEndpoint,
} from "../../../src/coordinator/adapters/redis-connection.ts";
import type { RenewalQueue } from "../../../src/coordinator/ports/renewal-queue.ts";
import type { EvergrantError } from "../../../src/protocol/errors.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { promised } from "../../contract/support/renewal-queue-contract.ts";

export const JOB = { tenant: "acme", job: "etl" };

const open = new Set<RenewalQueue>();
afterEach(async () => {
  await Promise.all([...open].map((queue) => promised<void>((done) => queue.close(done))));
  open.clear();
});

export const endpoint = (config: unknown): RedisEndpoint =>
  redisEndpoint(redisConfigSchema.parse(config));

/** A queue that is closed with the test, and the problems that it told of. */
export function openQueue(config: unknown): { queue: RenewalQueue; problems: EvergrantError[] } {
  const problems: EvergrantError[] = [];
  const queue = openBullQueue({
    ...JOB,
    redis: endpoint(config),
    clock: systemClock,
    onProblem: (error) => problems.push(error),
  });
  open.add(queue);
  return { queue, problems };
}

/** One look into the server, past the queue. */
export async function admin<T>(url: string, ask: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url);
  client.on("error", () => undefined);
  try {
    return await ask(client);
  } finally {
    client.disconnect();
  }
}

/** Everything that a Redis holds, as text: keys, fields, members and values. */
export async function dump(url: string): Promise<string[]> {
  return admin(url, async (client) => {
    const texts: string[] = [];
    for (const key of await client.keys("*")) {
      texts.push(key);
      const type = await client.type(key);
      if (type === "string") texts.push((await client.get(key)) ?? "");
      if (type === "hash") texts.push(...Object.entries(await client.hgetall(key)).flat());
      if (type === "list") texts.push(...(await client.lrange(key, 0, -1)));
      if (type === "set") texts.push(...(await client.smembers(key)));
      if (type === "zset") texts.push(...(await client.zrange(key, "0", "-1")));
      if (type === "stream") {
        for (const [, fields] of await client.xrange(key, "-", "+")) texts.push(...fields);
      }
    }
    return texts;
  });
}
