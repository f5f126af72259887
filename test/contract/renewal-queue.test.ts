import { Redis } from "ioredis";
import { openBullQueue } from "../../src/coordinator/adapters/bullmq-queue/bull-queue.ts";
import { redisConfigSchema } from "../../src/coordinator/adapters/redis-config.ts";
import { redisEndpoint } from "../../src/coordinator/adapters/redis-connection.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { startRedis } from "../support/servers.ts";
import { VirtualRedis } from "../support/virtual-queue.ts";
import { renewalQueueContract } from "./support/renewal-queue-contract.ts";

renewalQueueContract("the simulated queue", async () => {
  const clock = new ManualClock();
  const jobs = new Map<string, VirtualRedis>();
  const redisOf = (job: string): VirtualRedis => {
    const redis = jobs.get(job) ?? new VirtualRedis();
    jobs.set(job, redis);
    return redis;
  };
  redisOf("job");
  const all = (act: (redis: VirtualRedis) => void): void => {
    for (const redis of jobs.values()) act(redis);
  };
  return {
    clock,
    open: (job = "job") => redisOf(job).open(clock),
    until: async (condition) => {
      while (!condition()) {
        if (!clock.advanceToNext()) throw new Error("nothing is pending that could bring it about");
      }
    },
    goAway: async () => all((redis) => redis.goAway()),
    comeBack: async () => all((redis) => redis.comeBack()),
    wipe: async () => all((redis) => redis.wipe()),
    size: async () => [...jobs.values()].reduce((sum, redis) => sum + redis.planned().length, 0),
    end: async () => undefined,
  };
});

renewalQueueContract("the BullMQ queue", async () => {
  const server = await startRedis({ password: "pw" });
  const redis = redisEndpoint(redisConfigSchema.parse({ url: server.url }));
  const admin = async <T>(ask: (client: Redis) => Promise<T>): Promise<T> => {
    const client = new Redis(server.url);
    try {
      return await ask(client);
    } finally {
      client.disconnect();
    }
  };
  return {
    clock: systemClock,
    open: (job = "job") => openBullQueue({ tenant: "acme", job, redis, clock: systemClock }),
    until: eventually,
    goAway: server.kill,
    comeBack: server.restart,
    wipe: () => admin(async (client) => void (await client.flushall())),
    size: () => admin((client) => client.dbsize()),
    end: server.kill,
  };
});
