/**
 * A box around a secret value, so that no log line, error, JSON document or debugger printout can
 * show it by accident (I9). Only `reveal()` opens it; grep for that word to see every place that does.
 */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The value. Callers are the issuer's client, the sealer and the receivers; nobody else. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  /** What `util.inspect` (and so console.log and vitest) prints. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[secret]";
  }
}
