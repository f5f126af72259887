/** True time, and everything that will happen in it: one queue for the whole world, on one thread. */

/** Work that takes none of the world's time. `back` brings its outcome in, once it is done. */
interface Errand {
  readonly done: Promise<void>;
  back(): void;
}

/** The world waits for each promise that this yields, and time stands still until it has settled. */
export type Standstill = Generator<Promise<void>, void, void>;

interface Happening {
  readonly at: number;
  readonly order: number;
  readonly happen: () => void;
}

/** Steps in a millisecond. A power of two: sums and differences of times are exact. */
const GRID = 1024;

/** More at one instant means that something goes round in a circle. */
const MOST_AT_ONCE = 20_000;

export class Timeline {
  /** Milliseconds since the world began. */
  now = 0;
  /** Happenings so far. */
  count = 0;
  #order = 0;
  #sameInstant = 0;
  readonly #heap: Happening[] = [];
  readonly #errands: Errand[] = [];

  /** Equals in the order in which they were set. A moment that has passed means at once. */
  at(time: number, happen: () => void): void {
    const heap = this.#heap;
    // On a grid, and rounded up: whoever waits for a reading of a clock then finds it reached.
    const at = Math.ceil(Math.max(time, this.now) * GRID) / GRID;
    const item = { at, order: this.#order, happen };
    this.#order += 1;
    let place = heap.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = heap[parent] as Happening;
      if (!before(item, above)) break;
      heap[place] = above;
      place = parent;
    }
    heap[place] = item;
  }

  after(delay: number, happen: () => void): void {
    this.at(this.now + delay, happen);
  }

  /**
   * Work outside of the world's time, such as ciphers: nothing else happens before it is done.
   * Errands that are under way together come back in the order in which they were sent, whichever
   * is done first; so a seed replays.
   */
  send<T>(work: Promise<T>, back: (value: T) => void): void {
    let deliver = (): void => undefined;
    const done = work.then((value) => {
      deliver = () => back(value);
    });
    this.#errands.push({ done, back: () => deliver() });
  }

  /** Lets everything happen up to `end`, unless `stop` says so before. Yields only for errands. */
  *runUntil(end: number, stop: () => boolean): Standstill {
    for (;;) {
      for (let errand = this.#errands.shift(); errand; errand = this.#errands.shift()) {
        yield errand.done;
        errand.back();
      }
      const next = this.#heap[0];
      if (next === undefined || next.at > end || stop()) break;
      this.#pop();
      this.#sameInstant = next.at === this.now ? this.#sameInstant + 1 : 0;
      if (this.#sameInstant > MOST_AT_ONCE) throw new RangeError("time stands still");
      this.now = next.at;
      this.count += 1;
      next.happen();
    }
    if (!stop()) this.now = Math.max(this.now, Math.ceil(end * GRID) / GRID);
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && before(right, heap[child] as Happening)) child += 1;
      if (!before(heap[child] as Happening, last)) break;
      heap[place] = heap[child] as Happening;
      place = child;
    }
    heap[place] = last;
  }
}

const before = (a: Happening, b: Happening): boolean =>
  a.at < b.at || (a.at === b.at && a.order < b.order);
