/** A process that opens the queue of a Redis, plans, consumes, closes and should then end by itself. */
import { openBullQueue } from "../../../src/coordinator/adapters/bullmq-queue/bull-queue.ts";
import { redisConfigSchema } from "../../../src/coordinator/adapters/redis-config.ts";
import { redisEndpoint } from "../../../src/coordinator/adapters/redis-connection.ts";
import { durationMs } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";

const queue = openBullQueue({
  tenant: "acme",
  job: "etl",
  redis: redisEndpoint(redisConfigSchema.parse({ url: process.argv[2] })),
  clock: systemClock,
});
queue.consume(() => undefined);
const plan = [{ provider: "a", generation: 1, attempt: 1, delay: durationMs(3_600_000) }];
queue.ensure(plan, (outcome) => {
  process.stdout.write(outcome.ok ? "planned\n" : `${outcome.error.code}\n`);
  queue.close(() => process.stdout.write("closed\n"));
});
