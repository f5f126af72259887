/** Requests that wait for their answer, by the number that the core knows them by. Forgets unanswered ones. */

import { between, type Clock, type DurationMs, type MonoMs } from "../../../protocol/time.ts";
import type { RequestId } from "../../ports/agent-link.ts";

export class RequestTable<T> {
  readonly #clock: Clock;
  readonly #life: DurationMs;
  readonly #open = new Map<RequestId, { readonly since: MonoMs; readonly request: T }>();
  #last = 0;

  /** @param life how long a request may wait for its answer. */
  constructor(clock: Clock, life: DurationMs) {
    this.#clock = clock;
    this.#life = life;
  }

  get size(): number {
    return this.#open.size;
  }

  add(request: T): RequestId {
    const since = this.#clock.now().mono;
    // In order of age, so the first that is young enough ends the search.
    for (const [id, old] of this.#open) {
      if (between(old.since, since) <= this.#life) break;
      this.#open.delete(id);
    }
    this.#last += 1;
    this.#open.set(this.#last, { since, request });
    return this.#last;
  }

  /** Undefined when it was answered already, or is too old. */
  take(id: RequestId): T | undefined {
    const found = this.#open.get(id);
    this.#open.delete(id);
    if (found === undefined) return undefined;
    return between(found.since, this.#clock.now().mono) <= this.#life ? found.request : undefined;
  }
}
