/** What was called, how it ended and what was issued: everything a test counts. Holds no secret. */
import type { EpochMs } from "../../protocol/time.ts";
import type { GoogleCall } from "./knobs.ts";

/** Issued tokens that are listed; the oldest fall out beyond this. */
const LISTED = 5_000;

/** One issued token without itself. Instants are of the emulator's own, skewed clock. */
export interface IssuedToken {
  readonly kind: "federated" | "service-account" | "downscoped";
  readonly principal: string;
  readonly scopes: readonly string[];
  readonly issuedAt: EpochMs;
  readonly expiresAt: EpochMs;
  /** `jti` of the assertion, for federated ones. */
  readonly assertionId?: string;
}

export interface GoogleCounters {
  /** All calls but those of the admin path. */
  readonly total: number;
  /** By operation, then by outcome: `ok`, an error code, `hang`, `garbage` or `dropped`. */
  readonly calls: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly issued: readonly IssuedToken[];
}

export class Ledger {
  #arrived = 0;
  #ended = 0;
  readonly #calls: Record<string, Record<string, number>> = {};
  readonly #issued: IssuedToken[] = [];
  #waiting: { readonly count: number; readonly reached: () => void }[] = [];

  /** Numbers a call that has just come in. */
  arrive(): number {
    this.#arrived += 1;
    return this.#arrived;
  }

  end(call: GoogleCall, outcome: string): void {
    const outcomes = this.#calls[call.operation] ?? {};
    this.#calls[call.operation] = outcomes;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    this.#ended += 1;
    const reached = this.#waiting.filter((waiter) => waiter.count <= this.#ended);
    this.#waiting = this.#waiting.filter((waiter) => waiter.count > this.#ended);
    for (const waiter of reached) waiter.reached();
  }

  issue(token: IssuedToken): void {
    this.#issued.push(token);
    if (this.#issued.length > LISTED) this.#issued.shift();
  }

  /** Resolves once this many calls have ended since the start (a hung call has ended, too). */
  reached(count: number): Promise<void> {
    if (this.#ended >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, reached: resolve }));
  }

  snapshot(): GoogleCounters {
    return structuredClone({ total: this.#arrived, calls: this.#calls, issued: this.#issued });
  }
}
