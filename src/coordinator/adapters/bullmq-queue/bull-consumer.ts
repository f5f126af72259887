/**
 * The worker side of a job's queue: takes what is due and raises it. Owns the BullMQ worker, its
 * connections and its being built anew when it has gone wrong; refuses to judge a due and to retry
 * one, which is the core's business (section 4 of the design).
 *
 * States: idle -> running (a worker is there) <-> broken (waits before it builds the next one),
 * and from each of them to stopped, which is final.
 */
import { type Job, Worker } from "bullmq";
import type { EvergrantError } from "../../../protocol/errors.ts";
import { type CancelTimer, type Clock, durationMs } from "../../../protocol/time.ts";
import type { PlannedAttempt } from "../../ports/renewal-queue.ts";
import {
  isRedisAnswer,
  type RedisClient,
  type RedisEndpoint,
  redisFault,
} from "../redis-connection.ts";
import { bounded } from "./bounded.ts";
import { parseAttempt } from "./renewal-plan.ts";

export interface ConsumerOptions {
  /** The queue's name and prefix in Redis. */
  readonly name: string;
  readonly prefix: string;
  readonly redis: RedisEndpoint;
  readonly clock: Clock;
  /** Raises one due; returns at once. */
  readonly raise: (attempt: PlannedAttempt) => void;
  /** Told of what Redis refuses, and of what raising throws; of the same thing every 2 s at most. */
  readonly problem: (error: EvergrantError) => void;
}

/**
 * A due is raised at once and the job is then done, so many can be taken together and none ever
 * waits behind another. BullMQ's lock only says that somebody is raising it: a lost one means that
 * the due comes twice, which costs nothing.
 */
const WORKER = {
  autorun: false,
  concurrency: 64,
  lockDuration: 30_000,
  stalledInterval: 7_500,
  maxStalledCount: 5,
  runRetryDelay: 2_000,
  drainDelay: 5,
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 0 },
};

/** How long a broken worker is left alone. */
const REBUILD_AFTER = durationMs(2_000);

interface Running {
  readonly worker: Worker;
  readonly client: RedisClient;
}

/** A due that was raised and whose job is still in the queue. */
interface Raising {
  readonly gone: Promise<void>;
  readonly settle: () => void;
}

export class BullConsumer {
  readonly #options: ConsumerOptions;
  readonly #raising = new Map<string, Raising>();
  #running: Running | undefined;
  #rebuild: CancelTimer | undefined;
  #stopped = false;

  constructor(options: ConsumerOptions) {
    this.#options = options;
  }

  /** Starts taking what is due, now or when Redis is there. Calling it again does nothing. */
  start(): void {
    if (this.#stopped || this.#running !== undefined || this.#rebuild !== undefined) return;
    const { name, prefix, redis, problem } = this.#options;
    const client = redis.open("worker");
    const worker = new Worker(name, (job) => this.#process(job), {
      ...WORKER,
      prefix,
      connection: client,
    });
    const running = { worker, client };
    this.#running = running;
    worker.on("error", (error) => {
      // An outage is told by the connection of the producer, once.
      if (!isRedisAnswer(error)) return;
      problem(redisFault(error, "taking what is due"));
      // BullMQ asks again at once when Redis refuses (NOPERM, OOM, MISCONF), thousands of times a
      // second, and for ever; only a new worker after a pause ends that.
      this.#giveUp(running);
    });
    worker.on("completed", (job) => this.#settle(job.id));
    worker.on("failed", (job) => this.#settle(job?.id));
    worker.on("lockRenewalFailed", (ids) => {
      for (const id of ids) worker.cancelJob(id, "lock lost");
    });
    // Only once connected: run() on a connection that failed to set up spins without a pause.
    worker
      .waitUntilReady()
      .then(() => (this.#running === running ? worker.run() : undefined))
      .catch((error: unknown) => {
        if (this.#stopped) return;
        problem(redisFault(error, "starting to take what is due"));
        this.#giveUp(running);
      });
  }

  /**
   * Resolves once what is being raised under these ids has left the queue, or after `limit`. Until
   * then an id that is added again would be taken for the old one, and be lost.
   */
  async raised(ids: Iterable<string>): Promise<void> {
    const pending = [...ids].flatMap((id) => this.#raising.get(id)?.gone ?? []);
    if (pending.length === 0) return;
    await bounded(Promise.all(pending), this.#options.clock, durationMs(1_000), "raising").catch(
      () => this.#raising.clear(), // Its lock was lost, or Redis was: it will be raised again.
    );
  }

  /** Takes nothing more. Resolves within `limitMs`, whatever state Redis is in. */
  async stop(limitMs: number): Promise<void> {
    this.#stopped = true;
    this.#rebuild?.();
    const running = this.#running;
    this.#running = undefined;
    if (running !== undefined) await end(running, this.#options.clock, limitMs);
  }

  #giveUp(running: Running): void {
    if (this.#running !== running) return;
    this.#running = undefined;
    end(running, this.#options.clock, 0).catch(() => undefined);
    if (this.#stopped) return;
    const { clock } = this.#options;
    this.#rebuild = clock.timer(
      REBUILD_AFTER,
      () => {
        this.#rebuild = undefined;
        this.start();
      },
      true,
    );
  }

  /** Never throws: BullMQ would keep the text of what was thrown in Redis (I9). */
  async #process(job: Job): Promise<void> {
    const attempt = parseAttempt(job.data);
    if (attempt === undefined || this.#stopped) return;
    if (job.id !== undefined) this.#raising.set(job.id, raising());
    try {
      this.#options.raise(attempt);
    } catch (error) {
      this.#options.problem(redisFault(error, "raising a due", "INTERNAL"));
    }
  }

  #settle(id: string | undefined): void {
    if (id === undefined) return;
    this.#raising.get(id)?.settle();
    this.#raising.delete(id);
  }
}

/**
 * BullMQ's own close waits for Redis as long as it is away. What is being raised is finished at
 * once, so a forced end loses nothing but a clean good-bye.
 */
async function end({ worker, client }: Running, clock: Clock, limitMs: number): Promise<void> {
  const connected = client.status === "ready" && limitMs > 0;
  try {
    await bounded(worker.close(!connected), clock, durationMs(limitMs), "closing");
  } catch {
    worker.disconnect().catch(() => undefined);
  } finally {
    client.disconnect();
  }
}

function raising(): Raising {
  let settle = (): void => undefined;
  const gone = new Promise<void>((resolve) => {
    settle = resolve;
  });
  return { gone, settle: () => settle() };
}
