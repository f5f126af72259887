/**
 * A map that forgets what was not used for a while, in two generations: what is set or found goes
 * into the young one, and a young one that is full becomes the old one, whose rest is forgotten. So
 * what was used among the last `limit` entries is kept, at most twice as many are, and a lookup costs
 * no more than one of a plain Map: it is made for each report of ten thousand agents.
 */
export class BoundedMap<K, V> {
  #young = new Map<K, V>();
  #old = new Map<K, V>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: K): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: K, value: V): void {
    this.#old.delete(key);
    this.#young.set(key, value);
    if (this.#young.size < this.#limit) return;
    this.#old = this.#young;
    this.#young = new Map();
  }
}
