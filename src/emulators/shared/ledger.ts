/** What was called, how it ended and what was issued: everything a test counts. Holds no secret. */

/** Entries of what was issued that are listed; the oldest fall out beyond this. */
const LISTED = 5_000;

export interface Counters<Issued> {
  /** All calls of the protocol, the faulty ones included; the admin path is not counted. */
  readonly total: number;
  /** By operation, then by outcome: `ok`, an error code, `hang`, `garbage` or `dropped`. */
  readonly calls: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly issued: readonly Issued[];
}

export class Ledger<Issued> {
  #arrived = 0;
  #ended = 0;
  readonly #calls: Record<string, Record<string, number>> = {};
  readonly #issued: Issued[] = [];
  #waiting: { readonly count: number; readonly reached: () => void }[] = [];

  /** Numbers a call that has just come in. */
  arrive(): number {
    this.#arrived += 1;
    return this.#arrived;
  }

  end(operation: string, outcome: string): void {
    const outcomes = this.#calls[operation] ?? {};
    this.#calls[operation] = outcomes;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    this.#ended += 1;
    const reached = this.#waiting.filter((waiter) => waiter.count <= this.#ended);
    this.#waiting = this.#waiting.filter((waiter) => waiter.count > this.#ended);
    for (const waiter of reached) waiter.reached();
  }

  issue(entry: Issued): void {
    this.#issued.push(entry);
    if (this.#issued.length > LISTED) this.#issued.shift();
  }

  /** Ended calls of one operation (default all), with one outcome (default any). */
  count(operation?: string, outcome?: string): number {
    return Object.entries(this.#calls)
      .filter(([name]) => operation === undefined || name === operation)
      .flatMap(([, outcomes]) => Object.entries(outcomes))
      .filter(([name]) => outcome === undefined || name === outcome)
      .reduce((sum, [, count]) => sum + count, 0);
  }

  /** Resolves once this many calls have ended since the start (a hung call has ended, too). */
  reached(count: number): Promise<void> {
    if (this.#ended >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, reached: resolve }));
  }

  snapshot(): Counters<Issued> {
    return structuredClone({ total: this.#arrived, calls: this.#calls, issued: this.#issued });
  }
}
