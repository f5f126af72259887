/**
 * Since when nothing has been wrong, scope by scope (`nats`, `redis`, `issuer:p1`, `node:c1`).
 * Many invariants promise something only for as long as all is well somewhere: this is who knows.
 */
import type { Timeline } from "./timeline.ts";

export class GoodTimes {
  readonly #timeline: Timeline;
  readonly #scopes = new Map<string, { troubles: number; since: number }>();

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  /** A trouble begins. */
  begin(scope: string): void {
    const known = this.#scopes.get(scope);
    if (known === undefined) this.#scopes.set(scope, { troubles: 1, since: 0 });
    else known.troubles += 1;
  }

  /** It is over. */
  end(scope: string): void {
    const known = this.#scopes.get(scope);
    if (known === undefined || known.troubles === 0) throw new RangeError(`${scope} was well`);
    known.troubles -= 1;
    known.since = this.#timeline.now;
  }

  /** Over before it was seen, and not without a trace. */
  blip(scope: string): void {
    this.begin(scope);
    this.end(scope);
  }

  /** Since when all of these have been well; infinity: one is not. */
  since(...scopes: readonly string[]): number {
    let since = 0;
    for (const scope of scopes) {
      const known = this.#scopes.get(scope);
      if (known === undefined) continue;
      if (known.troubles > 0) return Number.POSITIVE_INFINITY;
      since = Math.max(since, known.since);
    }
    return since;
  }
}
