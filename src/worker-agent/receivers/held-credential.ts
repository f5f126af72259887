/**
 * What an endpoint serves from memory: nothing yet, a credential, or one that has ended.
 * Owns the rule that an ended one is never handed out (I2), judged at every reading on the
 * monotonic clock, and the short wait for the first one. Refuses to know any wire form.
 */
import { between, type Clock, type DurationMs, type MonoMs } from "../../protocol/time.ts";

export interface Held<T> {
  readonly value: T;
  /** At and after this instant it is not handed out. */
  readonly until: MonoMs;
}

/** `empty`: none was ever put. `ended`: the last one has expired or was withdrawn. */
export type Reading<T> =
  | { readonly state: "empty" }
  | { readonly state: "held"; readonly value: T; readonly remaining: DurationMs }
  | { readonly state: "ended" };

export class HeldCredential<T> {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  readonly #maxWaiting: number;
  #held: Held<T> | undefined;
  #everHeld = false;

  /** `maxWaiting`: further readers get `empty` at once; bounds the memory of a flood before the first credential. */
  constructor(clock: Clock, maxWaiting = 1000) {
    this.#clock = clock;
    this.#maxWaiting = maxWaiting;
  }

  /** Serves this from now on and wakes whoever waits. Returns what to `putBack` when it proves unusable. */
  put(held: Held<T>): Held<T> | undefined {
    const former = this.#held;
    this.#held = held;
    this.#everHeld = true;
    this.#wake();
    return former;
  }

  /** Undoes a `put`, unless something else has been put since. */
  putBack(failed: Held<T>, former: Held<T> | undefined): void {
    if (this.#held === failed) this.#held = former;
  }

  /** Serves nothing from now on. Readers that wait are told so. */
  clear(): void {
    this.#held = undefined;
    this.#everHeld = true;
    this.#wake();
  }

  read(): Reading<T> {
    if (this.#held === undefined) return { state: this.#everHeld ? "ended" : "empty" };
    const remaining = between(this.#clock.now().mono, this.#held.until);
    if (remaining > 0) return { state: "held", value: this.#held.value, remaining };
    this.#held = undefined; // the secret need not stay in memory either
    return { state: "ended" };
  }

  /** As `read`, but waits up to `hold` for the first credential while there has never been one. */
  async readSoon(hold: DurationMs, abandoned: AbortSignal): Promise<Reading<T>> {
    const now = this.read();
    if (now.state !== "empty" || hold <= 0 || this.#waiting.size >= this.#maxWaiting) return now;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        cancel();
        this.#waiting.delete(done);
        abandoned.removeEventListener("abort", done);
        resolve();
      };
      const cancel = this.#clock.timer(hold, done, true);
      this.#waiting.add(done);
      abandoned.addEventListener("abort", done);
    });
    return this.read();
  }

  /** How many readers wait for the first credential. */
  get waiting(): number {
    return this.#waiting.size;
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}
