/**
 * A simulated Redis with the queue of one job in it, for the simulation: the same contract as the
 * BullMQ one (test/contract/renewal-queue.test.ts), on a given clock, on one thread, every `done`
 * called before the call returns. Owns the faults a Redis can have; refuses to know what is planned.
 *
 * Like BullMQ it counts due times by the wall clock of whoever plans and whoever takes, and looks
 * at them again at least every 10 s; so a stepped wall clock makes a due early or late here too.
 */
import {
  attemptId,
  attemptOf,
  changeFor,
  type Held,
  type PlannedDue,
} from "../../src/coordinator/adapters/bullmq-queue/renewal-plan.ts";
import type { PlannedAttempt, RenewalQueue } from "../../src/coordinator/ports/renewal-queue.ts";
import { EvergrantError } from "../../src/protocol/errors.ts";
import { type Done, failure, success } from "../../src/protocol/outcome.ts";
import {
  between,
  type CancelTimer,
  type Clock,
  durationMs,
  type EpochMs,
  later,
} from "../../src/protocol/time.ts";

/** The longest that a worker of BullMQ blocks before it looks again. */
const LONGEST_WAIT_MS = 10_000;

interface Entry {
  readonly attempt: PlannedAttempt;
  readonly due: EpochMs;
}

/** How the next `ensure` fails: before it changed anything, or after it changed all. */
export type EnsureFault = "not-applied" | "applied";

/** The Redis of one job. Coordinators that share it share the schedule. */
export class VirtualRedis {
  readonly #entries = new Map<string, Entry>();
  readonly #queues = new Set<VirtualQueue>();
  readonly #faults: EnsureFault[] = [];
  #away = false;
  #silent = false;
  #doubles = 0;

  /** Calls of `ensure` that reached it, also those that then failed. */
  ensures = 0;
  /** Every due that it raised, in order; a doubled one twice. */
  readonly raised: PlannedAttempt[] = [];

  /** A coordinator's connection to it. Each has its own clock, and its own idea of the wall's. */
  open(clock: Clock): VirtualQueue {
    const queue = new VirtualQueue(this, clock);
    this.#queues.add(queue);
    return queue;
  }

  /** What is planned, soonest first. */
  planned(): readonly (PlannedAttempt & { readonly due: EpochMs })[] {
    return [...this.#entries.values()]
      .sort((one, other) => one.due - other.due)
      .map(({ attempt, due }) => ({ ...attempt, due }));
  }

  /** Knob: nobody can reach it; nothing is lost. */
  goAway(): void {
    this.#away = true;
  }

  /** Knob: it is there again. What came due meanwhile is raised next; reconnections are told. */
  comeBack(): void {
    if (!this.#away) return;
    this.#away = false;
    for (const queue of [...this.#queues]) queue.reconnected();
  }

  /** Knob: it takes plans, and raises none of them. */
  fallSilent(): void {
    this.#silent = true;
  }

  /** Knob: it raises again. What came due meanwhile is raised next. */
  speak(): void {
    this.#silent = false;
    for (const queue of this.#queues) queue.look();
  }

  /** Knob: FLUSHALL, or the promotion of an empty replica. Nobody is told. */
  wipe(): void {
    this.#entries.clear();
  }

  /** Knob: loses what matches, silently. Yields how many that were. */
  lose(matches: (attempt: PlannedAttempt) => boolean): number {
    const lost = [...this.#entries].filter(([, { attempt }]) => matches(attempt));
    for (const [id] of lost) this.#entries.delete(id);
    return lost.length;
  }

  /** Knob: the next `count` dues are raised twice each, as after a lost lock. */
  doubleNext(count = 1): void {
    this.#doubles += count;
  }

  /** Knob: the next `ensure` that reaches it fails; the next but one too if called twice. */
  failNext(fault: EnsureFault): void {
    this.#faults.push(fault);
  }

  /** @internal */
  get away(): boolean {
    return this.#away;
  }

  /** @internal Undefined: it is away, or fails. */
  change(plan: readonly PlannedDue[], wall: EpochMs): number | undefined {
    if (this.#away) return undefined;
    this.ensures += 1;
    const fault = this.#faults.shift();
    if (fault === "not-applied") return undefined;
    const held = [...this.#entries].map(([id, { due }]): Held => {
      return due <= wall ? { id, state: "due" } : { id, state: "planned", due };
    });
    const { remove, add } = changeFor(plan, held, wall);
    for (const id of remove) this.#entries.delete(id);
    for (const entry of add) {
      this.#entries.set(attemptId(entry), {
        attempt: attemptOf(entry),
        due: later(wall, entry.delay),
      });
    }
    for (const queue of this.#queues) queue.look();
    return fault === "applied" ? undefined : add.length;
  }

  /** @internal The soonest due time; undefined when nothing is planned or it is away. */
  soonest(): EpochMs | undefined {
    return this.#away || this.#silent ? undefined : this.planned()[0]?.due;
  }

  /** @internal Takes one that is due by `wall`; it is gone before it is raised. */
  take(wall: EpochMs): readonly PlannedAttempt[] {
    const due = this.#away || this.#silent ? undefined : this.planned()[0];
    if (due === undefined || due.due > wall) return [];
    const attempt = attemptOf(due);
    this.#entries.delete(attemptId(attempt));
    const taken = this.#doubles > 0 ? [attempt, attempt] : [attempt];
    this.#doubles = Math.max(0, this.#doubles - 1);
    this.raised.push(...taken);
    return taken;
  }

  /** @internal */
  forget(queue: VirtualQueue): void {
    this.#queues.delete(queue);
  }
}

/** One coordinator's end of the queue. Made by `VirtualRedis.open`. */
export class VirtualQueue implements RenewalQueue {
  readonly #redis: VirtualRedis;
  readonly #clock: Clock;
  readonly #back: (() => void)[] = [];
  #due: ((attempt: PlannedAttempt) => void) | undefined;
  #timer: CancelTimer | undefined;
  #state: "open" | "obliterated" | "closed" = "open";

  constructor(redis: VirtualRedis, clock: Clock) {
    this.#redis = redis;
    this.#clock = clock;
  }

  ensure(plan: readonly PlannedDue[], done: Done<number>): void {
    const added =
      this.#state === "open" ? this.#redis.change(plan, this.#clock.now().wall) : undefined;
    done(added === undefined ? failure(unavailable()) : success(added));
  }

  consume(due: (attempt: PlannedAttempt) => void): void {
    if (this.#state !== "open") return;
    this.#due ??= due;
    this.look();
  }

  pause(): void {
    this.#due = undefined;
    this.look();
  }

  onReconnect(back: () => void): void {
    this.#back.push(back);
  }

  close(done: Done<void>): void {
    this.#stop("closed");
    this.#redis.forget(this);
    done(success(undefined));
  }

  obliterate(done: Done<void>): void {
    if (this.#state !== "closed") this.#stop("obliterated");
    const reached = this.#state === "obliterated" && !this.#redis.away;
    if (reached) this.#redis.wipe();
    done(reached ? success(undefined) : failure(unavailable()));
  }

  /** Knob: the process that holds this end dies; nothing is called back any more. */
  crash(): void {
    this.#stop("closed");
    this.#redis.forget(this);
    this.#back.length = 0;
  }

  /** @internal Something changed: waits for the soonest due anew. */
  look(): void {
    this.#timer?.();
    this.#timer = undefined;
    const soonest = this.#redis.soonest();
    if (this.#due === undefined || soonest === undefined) return;
    const wait = between(this.#clock.now().wall, soonest);
    this.#timer = this.#clock.timer(
      durationMs(Math.min(Math.max(0, wait), LONGEST_WAIT_MS)),
      () => this.#raise(),
      true,
    );
  }

  /** @internal */
  reconnected(): void {
    if (this.#state === "closed") return;
    for (const back of [...this.#back]) back();
    this.look();
  }

  #raise(): void {
    this.#timer = undefined;
    for (const attempt of this.#redis.take(this.#clock.now().wall)) this.#due?.(attempt);
    this.look();
  }

  #stop(state: "obliterated" | "closed"): void {
    this.#state = state;
    this.#due = undefined;
    this.#timer?.();
    this.#timer = undefined;
  }
}

const unavailable = (): EvergrantError =>
  new EvergrantError("QUEUE_UNAVAILABLE", "the simulated Redis is away");
