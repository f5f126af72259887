/**
 * One piece of work at a time, the newest first: what waits is skipped once something newer has
 * arrived, and then ends as the newer one ends. Owns that order; refuses to know the work.
 */
const SUPERSEDED = Symbol("superseded");

export interface Turn {
  /** Whether something newer waits: the rest of this work need not be done. */
  readonly superseded: () => boolean;
}

export class Turns {
  #tail: Promise<unknown> = Promise.resolve();
  #newest: Promise<void> = Promise.resolve();
  #last = 0;

  /**
   * Does `work` after all that came before. Resolves or rejects as `work` does; skipped work, and
   * work that returned `false` because it had been superseded, ends as the newest does.
   */
  take(work: (turn: Turn) => Promise<boolean>): Promise<void> {
    this.#last += 1;
    const mine = this.#last;
    const superseded = (): boolean => this.#last !== mine;
    const done = this.#tail.then(async () => {
      if (superseded()) return SUPERSEDED;
      const finished = await work({ superseded });
      return finished || !superseded() ? undefined : SUPERSEDED;
    });
    this.#tail = done.catch(() => undefined);
    const outcome = done.then((end) => (end === SUPERSEDED ? this.#newest : undefined));
    this.#newest = outcome;
    outcome.catch(() => undefined); // whoever asked sees the rejection; nobody else need
    return outcome;
  }

  /** Resolves once no work is under way or waits; never rejects. */
  async idle(): Promise<void> {
    let seen: number;
    do {
      seen = this.#last;
      await this.#tail;
    } while (seen !== this.#last);
  }
}
