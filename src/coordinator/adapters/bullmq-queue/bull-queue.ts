/**
 * The durable schedule of one job as a BullMQ queue of its own: one plain delayed job per planned
 * attempt. Owns how a plan becomes jobs; refuses to know why an attempt is planned. Nothing but
 * names and counts ever goes to Redis (I9); losing all of it costs nothing (I10), since `ensure`
 * puts it back.
 *
 * BullMQ counts delays by the wall clock of this process, not by the `Clock` given here.
 */
import { Queue } from "bullmq";
import { EvergrantError } from "../../../protocol/errors.ts";
import type { JobId } from "../../../protocol/names.ts";
import { type Done, failure, settle } from "../../../protocol/outcome.ts";
import { type Clock, durationMs, type EpochMs, epochMs } from "../../../protocol/time.ts";
import type { PlannedAttempt, RenewalQueue } from "../../ports/renewal-queue.ts";
import { type RedisClient, type RedisEndpoint, redisFault } from "../redis-connection.ts";
import { bounded } from "./bounded.ts";
import { BullConsumer } from "./bull-consumer.ts";
import { attemptId, attemptOf, changeFor, type Held, type PlannedDue } from "./renewal-plan.ts";

export interface BullQueueOptions extends JobId {
  readonly redis: RedisEndpoint;
  readonly clock: Clock;
  /** Told when Redis is lost, once per outage, and of what Redis refuses. For logs and metrics. */
  readonly onProblem?: (error: EvergrantError) => void;
}

/** How long `ensure` waits for the first connection. */
const CONNECT_LIMIT = durationMs(2_000);
/** How long `close` and `obliterate` wait for what is under way. */
const CLOSE_LIMIT_MS = 2_000;
/** BullMQ keeps a delayed job under its due time times this. */
const SCORE_PER_MS = 4096;

const JOB_NAME = "renew";

/** BullMQ's lists, and what being in one means here; `delayed` is read by itself, with the times. */
const STATES = [
  ["wait", "due"],
  ["prioritized", "due"],
  ["active", "taken"],
  ["completed", "over"],
  ["failed", "over"],
] as const;

/**
 * Opens the queue of a job. Returns at once and never throws for a Redis that is away: it connects
 * in the background, and until then `ensure` fails with QUEUE_UNAVAILABLE.
 */
export function openBullQueue(options: BullQueueOptions): RenewalQueue {
  return new BullRenewalQueue(options);
}

/** Where the queue of a job lives in Redis: every key starts with `prefix:name:`. */
export function queueKeys({ tenant, job }: JobId): {
  readonly name: string;
  readonly prefix: string;
} {
  const name = `${tenant}.${job}`;
  // The braces are a hash tag: in a Redis Cluster all keys of one queue live on one node.
  return { name, prefix: `evergrant:{${name}}` };
}

class BullRenewalQueue implements RenewalQueue {
  readonly #options: BullQueueOptions;
  readonly #client: RedisClient;
  readonly #queue: Queue;
  readonly #reconnected: (() => void)[] = [];
  #consumer: BullConsumer | undefined;
  #work: Promise<unknown> = Promise.resolve();
  #state: "open" | "obliterated" | "closed" = "open";
  #lost = false;
  readonly #told = new Set<string>();

  constructor(options: BullQueueOptions) {
    this.#options = options;
    this.#client = options.redis.open("producer");
    this.#client.on("error", (error) => this.#connectionFailed(error));
    this.#client.on("close", () => this.#connectionFailed(undefined));
    this.#client.on("ready", () => this.#connectionReady());
    this.#queue = new Queue(queueKeys(options).name, {
      prefix: queueKeys(options).prefix,
      connection: this.#client,
      // Setting up asks the version, once; an outage at that moment would leave it broken for good.
      skipVersionCheck: true,
      streams: { events: { maxLen: 16 } },
      defaultJobOptions: { attempts: 1, removeOnComplete: true, removeOnFail: true },
    });
    this.#queue.on("error", () => undefined); // The client's own handler tells of it.
  }

  ensure(plan: readonly PlannedDue[], done: Done<number>): void {
    this.#serially(() => this.#reconcile(plan), done, "scheduling");
  }

  consume(due: (attempt: PlannedAttempt) => void): void {
    if (this.#state !== "open") return;
    this.#consumer ??= new BullConsumer({
      ...queueKeys(this.#options),
      redis: this.#options.redis,
      clock: this.#options.clock,
      raise: due,
      problem: (error) => this.#tell(error),
    });
    this.#consumer.start();
  }

  pause(): void {
    const consumer = this.#consumer;
    this.#consumer = undefined;
    consumer?.stop(CLOSE_LIMIT_MS).catch(() => undefined);
  }

  onReconnect(back: () => void): void {
    this.#reconnected.push(back);
  }

  close(done: Done<void>): void {
    this.#state = "closed";
    settle(() => this.#close(), done, "QUEUE_UNAVAILABLE", "closing the queue");
  }

  obliterate(done: Done<void>): void {
    if (this.#state === "closed") {
      done(failure(closedError()));
      return;
    }
    this.#state = "obliterated";
    const work = async (): Promise<void> => {
      await this.#consumer?.stop(CLOSE_LIMIT_MS);
      await this.#connected();
      await this.#queue.obliterate({ force: true });
    };
    this.#enqueue(work, done, "removing the queue");
  }

  async #reconcile(plan: readonly PlannedDue[]): Promise<number> {
    await this.#connected();
    await this.#consumer?.raised(plan.map(attemptId));
    const change = changeFor(plan, await this.#held(), this.#options.clock.now().wall);
    for (const id of change.remove) await this.#queue.remove(id);
    if (change.add.length > 0) {
      await this.#queue.addBulk(
        change.add.map((entry) => ({
          name: JOB_NAME,
          data: attemptOf(entry),
          opts: { jobId: attemptId(entry), delay: Math.max(0, Math.ceil(entry.delay)) },
        })),
      );
    }
    this.#told.clear();
    return change.add.length;
  }

  /** What Redis holds of this queue, whatever state it is in. */
  async #held(): Promise<Held[]> {
    // Somebody's console has paused it, or an end of the job was not carried through.
    if (await this.#queue.isPaused()) await this.#queue.resume();
    const [lists, scores] = await Promise.all([
      this.#queue.getBackend().getRanges(
        STATES.map(([type]) => type),
        0,
        -1,
      ),
      this.#client.zrange(this.#queue.toKey("delayed"), "0", "-1", "WITHSCORES"),
    ]);
    const held: Held[] = STATES.flatMap(([, state], index) =>
      ((lists[index] ?? []) as readonly string[]).map((id) => ({ id, state })),
    );
    for (let at = 0; at + 1 < scores.length; at += 2) {
      held.push({ id: String(scores[at]), state: "planned", due: dueOf(Number(scores[at + 1])) });
    }
    return held;
  }

  async #connected(): Promise<void> {
    const { clock } = this.#options;
    await bounded(this.#queue.waitUntilReady(), clock, CONNECT_LIMIT, "connecting to Redis");
  }

  /** One at a time, in the order of the calls: two plans at once would undo each other. */
  #serially<T>(work: () => Promise<T>, done: Done<T>, doing: string): void {
    if (this.#state !== "open") {
      done(failure(closedError()));
      return;
    }
    const unlessClosed = (): Promise<T> => {
      if (this.#state !== "open") throw closedError();
      return work();
    };
    this.#enqueue(unlessClosed, done, doing);
  }

  #enqueue<T>(work: () => Promise<T>, done: Done<T>, doing: string): void {
    const outcome = this.#work.then(work).catch((error: unknown) => {
      throw redisFault(error, doing);
    });
    this.#work = outcome.catch(() => undefined);
    settle(() => outcome, done, "QUEUE_UNAVAILABLE", doing);
  }

  async #close(): Promise<void> {
    const { clock } = this.#options;
    await this.#consumer?.stop(CLOSE_LIMIT_MS);
    await bounded(this.#work, clock, durationMs(CLOSE_LIMIT_MS), "closing").catch(() => undefined);
    this.#queue.close().catch(() => undefined); // The client is ours: this only marks it closed.
    this.#client.disconnect();
  }

  #connectionFailed(error: unknown): void {
    if (this.#lost || this.#state === "closed") return;
    this.#lost = true;
    this.#tell(
      error === undefined
        ? new EvergrantError("QUEUE_UNAVAILABLE", "the connection to Redis was lost")
        : redisFault(error, "connecting to Redis"),
    );
  }

  #connectionReady(): void {
    if (!this.#lost || this.#state === "closed") return;
    this.#lost = false;
    for (const back of this.#reconnected) back();
  }

  /** Of the same refusal once, until Redis has done something for us again. */
  #tell(error: EvergrantError): void {
    const { reason } = error.details;
    if (typeof reason === "string" && error.code !== "INTERNAL") {
      if (this.#told.has(reason)) return;
      this.#told.add(reason);
    }
    this.#options.onProblem?.(error);
  }
}

const dueOf = (score: number): EpochMs => epochMs(Math.floor(score / SCORE_PER_MS));

const closedError = (): EvergrantError =>
  new EvergrantError("QUEUE_UNAVAILABLE", "the queue is closed");
