/**
 * One machine with one process: its clocks, its life, and its mailbox as the system sees it. A
 * paused process (SIGSTOP) is frozen with all that was on its way out or in; a crash drops it all.
 * It refuses to know what runs in it.
 */
import { type Clock, epochMs, monoMs, type Now } from "../../src/protocol/time.ts";
import type { Chance } from "./chance.ts";
import type { Timeline } from "./timeline.ts";

/** True time 0 on everybody's calendar. */
export const EPOCH = Date.UTC(2026, 0, 1);

export class SimNode {
  readonly name: string;
  alive = false;
  paused = false;
  /** This machine's wall clock less true time. */
  wallOffset = 0;
  /** Monotonic clocks start anywhere, anew with each process. */
  monoOffset = 0;
  /** Which process it is: what was meant for an older one is dropped. */
  epoch = 0;
  /** Crash at the n-th I/O from now; `afterIt`: the I/O itself still happens. */
  doom: { ios: number; readonly afterIt: boolean } | undefined;
  /** Called when the doom comes. */
  onDoom: () => void = () => undefined;
  /** Called after everything that has run in this process. */
  onRan: () => void = () => undefined;
  readonly clock: Clock;
  readonly timeline: Timeline;
  readonly #chance: Chance;
  #backlog: (() => void)[] = [];

  constructor(name: string, timeline: Timeline, chance: Chance) {
    this.name = name;
    this.timeline = timeline;
    this.#chance = chance;
    this.clock = {
      now: () => this.now(),
      timer: (delay, fire) => {
        let cancelled = false;
        this.after(delay, () => {
          if (!cancelled) fire();
        });
        return () => {
          cancelled = true;
        };
      },
    };
  }

  now(): Now {
    const t = this.timeline.now;
    return { wall: epochMs(EPOCH + t + this.wallOffset), mono: monoMs(t + this.monoOffset) };
  }

  /** The true time of a reading of this process's monotonic clock. */
  trueTime(mono: number): number {
    return mono - this.monoOffset;
  }

  /** A new process begins. */
  boot(): void {
    this.epoch += 1;
    this.alive = true;
    this.paused = false;
    this.#backlog = [];
    this.doom = undefined;
    this.monoOffset = this.#chance.whole(1, 1_000_000) - Math.floor(this.timeline.now);
  }

  /** The process is gone, with all that it had not done yet. */
  die(): void {
    this.epoch += 1;
    this.alive = false;
    this.paused = false;
    this.#backlog = [];
    this.doom = undefined;
  }

  pause(): void {
    if (this.alive) this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    const backlog = this.#backlog;
    this.#backlog = [];
    const { epoch } = this;
    for (const run of backlog) this.#run(epoch, run);
  }

  /** Runs in this process after `delay` at the earliest; not at all if it has died meanwhile. */
  after(delay: number, run: () => void): void {
    const { epoch } = this;
    this.timeline.after(delay, () => this.#run(epoch, run));
  }

  /** Runs in this process, wherever it comes from. */
  deliver(epoch: number, run: () => void): void {
    this.#run(epoch, run);
  }

  /** One I/O leaves the process: a moment after it was asked for, so that a pause may come between. */
  io(start: () => void): void {
    if (this.doom !== undefined) {
      this.doom.ios -= 1;
      if (this.doom.ios <= 0) {
        const { afterIt } = this.doom;
        this.doom = undefined;
        if (afterIt) start();
        this.onDoom();
        return;
      }
    }
    this.after(this.#chance.unit() * 2, start);
  }

  #run(epoch: number, run: () => void): void {
    if (epoch !== this.epoch) return;
    if (this.paused) {
      this.#backlog.push(run);
      return;
    }
    run();
    this.onRan();
  }
}
