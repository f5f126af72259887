/**
 * Work that is started a few at a time. Owns the bound and the queue; refuses to know what the work
 * is. Old work is dropped unstarted: whoever asked for it has asked again by then.
 */
import { between, type Clock, type DurationMs, type MonoMs } from "../../../protocol/time.ts";

export interface WorkPoolOptions {
  readonly clock: Clock;
  /** How many at a time. */
  readonly concurrency: number;
  /** How many may wait; what comes on top is dropped. */
  readonly capacity: number;
  /** How long one may wait to be started. */
  readonly patience: DurationMs;
  readonly onDropped: () => void;
}

interface Waiting {
  readonly since: MonoMs;
  readonly work: () => Promise<void>;
}

export interface WorkPool {
  /** `work` must settle; a rejection is its own business and is swallowed. */
  add(work: () => Promise<void>): void;
  /** Drops what waits, and settles when what runs has ended. */
  close(): Promise<void>;
}

export function workPool(options: WorkPoolOptions): WorkPool {
  const { clock, concurrency, capacity, patience, onDropped } = options;
  // A ring by index: shifting an array of thousands costs more than the work's bookkeeping.
  let queue: (Waiting | undefined)[] = [];
  let head = 0;
  let running = 0;
  let closed: (() => void) | undefined;

  const next = (): Waiting | undefined => {
    const waiting = queue[head];
    if (waiting === undefined) return undefined;
    queue[head] = undefined;
    head += 1;
    if (head === queue.length) {
      queue = [];
      head = 0;
    }
    return waiting;
  };
  const start = (): void => {
    while (running < concurrency) {
      const waiting = next();
      if (waiting === undefined) break;
      if (between(waiting.since, clock.now().mono) > patience) {
        onDropped();
        continue;
      }
      running += 1;
      void Promise.resolve()
        .then(waiting.work)
        .catch(() => undefined)
        .then(() => {
          running -= 1;
          start();
        });
    }
    if (running === 0) closed?.();
  };
  return {
    add(work) {
      if (closed !== undefined || queue.length - head >= capacity) return onDropped();
      queue.push({ since: clock.now().mono, work });
      start();
    },
    close() {
      queue = [];
      head = 0;
      return new Promise((resolve) => {
        closed = resolve;
        start();
      });
    },
  };
}
