/**
 * A register in memory with the faults of a real one: down, frozen (a write may still happen) and
 * wiped. Passes the register contract, so what is tested on it holds for the real one.
 */

import type { CasRegister, Reading, Revision } from "../../src/coordinator/ports/cas-register.ts";
import { EvergrantError } from "../../src/protocol/errors.ts";
import { failure, type Outcome, success } from "../../src/protocol/outcome.ts";

/** One store; every register of a key in it sees the same value. */
export class MemoryStore {
  #entries = new Map<string, { revision: Revision; value: unknown }>();
  #sequence = 0;
  #wipes = 0;
  #held: (() => void)[] = [];
  #state: "up" | "down" | "frozen" = "up";
  /** Calls so far, whatever came of them. */
  readonly calls = { read: 0, write: 0, remove: 0 };

  /** Nothing arrives. */
  down(): void {
    this.#state = "down";
  }

  /** Calls fail, and writes happen when it thaws. */
  freeze(): void {
    this.#state = "frozen";
  }

  /** Ends `down` and `freeze`. */
  up(): void {
    this.#state = "up";
    for (const held of this.#held.splice(0)) held();
  }

  /** Loses everything; revisions begin anew. */
  wipe(): void {
    this.#entries.clear();
    this.#sequence = 0;
    this.#wipes += 1;
  }

  /** What is stored under a key now, past all faults. */
  peek(key: string): unknown {
    return this.#entries.get(key)?.value;
  }

  /** Answers before the call returns, in the way of all synchronous stand-ins. */
  register<T>(key: string): CasRegister<T> {
    const write = (expected: Revision | undefined, value: T): Outcome<Revision> => {
      if (this.#entries.get(key)?.revision !== expected) {
        return failure(new EvergrantError("STORE_CONFLICT", `${key} has another revision`));
      }
      this.#sequence += 1;
      this.#entries.set(key, { revision: this.#sequence, value });
      return success(this.#sequence);
    };
    const remove = (): Outcome<void> => {
      this.#entries.delete(key);
      this.#sequence += 1;
      return success(undefined);
    };
    const change = <R>(work: () => Outcome<R>): Outcome<R> => {
      if (this.#state === "up") return work();
      if (this.#state === "frozen") this.#held.push(() => void work());
      return failure(new EvergrantError("STORE_UNAVAILABLE", "the store does not answer"));
    };
    return {
      read: (done) => {
        this.calls.read += 1;
        if (this.#state !== "up") {
          return done(failure(new EvergrantError("STORE_UNAVAILABLE", "no answer")));
        }
        const entry = this.#entries.get(key) as Reading<T>["entry"];
        done(success({ entry, incarnation: `memory-${this.#wipes}` }));
      },
      write: (expected, value, done) => {
        this.calls.write += 1;
        done(change(() => write(expected, value)));
      },
      remove: (done) => {
        this.calls.remove += 1;
        done(change(remove));
      },
    };
  }
}
