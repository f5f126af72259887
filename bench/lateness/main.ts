/**
 * How late scheduled renewals are raised: 10,000 plans over 1,000 jobs, each with a queue of its own as
 * coordinators have, beside as many delayed jobs in one bare BullMQ queue, and beside timers of this process.
 *
 *     npm run bench -- lateness --queues 1000 --plans 10
 */
import { parseArgs } from "node:util";
import { Queue, Worker } from "bullmq";
import { openBullQueue } from "../../src/coordinator/adapters/bullmq-queue/bull-queue.ts";
import { redisConfigSchema } from "../../src/coordinator/adapters/redis-config.ts";
import { redisEndpoint } from "../../src/coordinator/adapters/redis-connection.ts";
import type { RenewalQueue } from "../../src/coordinator/ports/renewal-queue.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { percentile, type Row, report, row } from "../support/figures.ts";
import { startStand } from "../support/stand.ts";

const { values } = parseArgs({
  options: {
    queues: { type: "string", default: "100" },
    plans: { type: "string", default: "10" },
    /** Over how long the due times are spread, and how long after the last plan they begin. */
    "spread-sec": { type: "string", default: "20" },
    "lead-sec": { type: "string", default: "5" },
    report: { type: "string" },
  },
});
const QUEUES = Number(values.queues);
const PLANS = Number(values.plans);
const TOTAL = QUEUES * PLANS;
const SPREAD = Number(values["spread-sec"]) * 1000;
const LEAD = Number(values["lead-sec"]) * 1000;
const now = (): number => systemClock.now().wall;
const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => void systemClock.timer(durationMs(ms), resolve));

/** Even over the spread, and each queue's own as well. */
const offset = (index: number): number => (index / TOTAL) * SPREAD;

/** Counts what is raised; resolves with how late each was when all have been. */
function collector(): { raised(due: number | undefined): void; readonly all: Promise<number[]> } {
  const late: number[] = [];
  let finish: (all: number[]) => void = () => undefined;
  const all = new Promise<number[]>((resolve) => {
    finish = resolve;
  });
  return {
    all,
    raised(due) {
      if (due === undefined) return;
      late.push(now() - due);
      if (late.length === TOTAL) finish(late);
    },
  };
}

const stand = await startStand();
const redis = redisConfigSchema.parse({ url: stand.servers.redis.url.reveal() });

async function ours(): Promise<number[]> {
  const endpoint = redisEndpoint(redis);
  const queues: RenewalQueue[] = [];
  for (let q = 0; q < QUEUES; q += 1) {
    queues.push(
      openBullQueue({ tenant: "bench", job: `job-${q}`, redis: endpoint, clock: systemClock }),
    );
  }
  const due = new Map<string, number>();
  const { raised, all } = collector();
  const began = now();
  // Planning takes a while of its own: due times begin after it.
  const start = began + LEAD + QUEUES * 100;
  for (const [q, queue] of queues.entries()) {
    const plan = Array.from({ length: PLANS }, (_, p) => {
      const at = start + offset(p * QUEUES + q);
      due.set(`${q}/provider-${p}`, at);
      return {
        provider: `provider-${p}`,
        generation: 1,
        attempt: 1,
        delay: durationMs(at - now()),
      };
    });
    await planned(queue, plan);
    queue.consume(({ provider }) => {
      const key = `${q}/${provider}`;
      raised(due.get(key));
      due.delete(key);
    });
  }
  if (now() > start) throw new Error(`planning took ${now() - began} ms: give it a longer lead`);
  const late = await all;
  for (const queue of queues) await new Promise<void>((resolve) => queue.close(() => resolve()));
  return late;
}

/** As the coordinator does: what fails is tried again. */
async function planned(
  queue: RenewalQueue,
  plan: Parameters<RenewalQueue["ensure"]>[0],
): Promise<void> {
  for (;;) {
    const ok = await new Promise<boolean>((resolve) =>
      queue.ensure(plan, (outcome) => resolve(outcome.ok)),
    );
    if (ok) return;
    await pause(100);
  }
}

async function bareQueue(): Promise<number[]> {
  const { hostname, port, password } = new URL(stand.servers.redis.url.reveal());
  const connection = { host: hostname, port: Number(port), password, maxRetriesPerRequest: null };
  const queue = new Queue("bare", { connection });
  const { raised, all } = collector();
  const start = now() + LEAD;
  await queue.addBulk(
    Array.from({ length: TOTAL }, (_, index) => {
      const at = start + offset(index);
      return { name: "x", data: { at }, opts: { delay: at - now(), removeOnComplete: true } };
    }),
  );
  const worker = new Worker("bare", async ({ data }) => raised(data.at), {
    connection,
    concurrency: 64,
  });
  const late = await all;
  await worker.close();
  await queue.close();
  return late;
}

async function timers(): Promise<number[]> {
  const { raised, all } = collector();
  const start = now() + 100;
  for (let index = 0; index < TOTAL; index += 1) {
    const at = start + offset(index);
    systemClock.timer(durationMs(at - now()), () => raised(at));
  }
  return await all;
}

try {
  const [byTimers, byOne, byOurs] = [await timers(), await bareQueue(), await ours()];
  const rows: Row[] = [0.5, 0.99, 1].flatMap((share) => {
    const name = share === 1 ? "max" : `p${share * 100}`;
    const of = (late: readonly number[]) => percentile(late, share);
    return [
      row(`${TOTAL} renewals over ${QUEUES} queues: late by, ${name}`, of(byOurs), "ms", of(byOne)),
      row(`timers of one process: late by, ${name}`, of(byTimers), "ms"),
    ];
  });
  report("lateness", rows, values.report);
} finally {
  await stand.stop();
}
