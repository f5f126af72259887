/** What was called, how it ended and what was issued: everything a test counts. Holds no secret. */
import type { EpochMs } from "../../protocol/time.ts";
import type { StsAction, StsCall } from "./knobs.ts";

/** Issued credentials that are listed; the oldest fall out beyond this. */
const LISTED = 5_000;

/** One issued credential without its secret parts. Instants are of the emulator's own, skewed clock. */
export interface IssuedCredential {
  readonly accessKeyId: string;
  readonly action: StsAction;
  readonly principalArn: string;
  readonly roleArn?: string;
  readonly sessionName?: string;
  readonly policy?: string;
  readonly policyArns: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
  readonly sourceIdentity?: string;
  readonly requestedDurationSec: number;
  readonly issuedAt: EpochMs;
  readonly expiresAt: EpochMs;
}

export interface StsCounters {
  /** All calls of the protocol, the faulty ones included; the admin path is not counted. */
  readonly total: number;
  /** By action, then by outcome: `ok`, an error code, `hang`, `garbage` or `dropped`. */
  readonly calls: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly issued: readonly IssuedCredential[];
}

export class Ledger {
  #arrived = 0;
  #ended = 0;
  readonly #calls: Record<string, Record<string, number>> = {};
  readonly #issued: IssuedCredential[] = [];
  #waiting: { readonly count: number; readonly reached: () => void }[] = [];

  /** Numbers a call that has just come in. */
  arrive(): number {
    this.#arrived += 1;
    return this.#arrived;
  }

  end(call: StsCall, outcome: string): void {
    const outcomes = this.#calls[call.action] ?? {};
    this.#calls[call.action] = outcomes;
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    this.#ended += 1;
    const reached = this.#waiting.filter((waiter) => waiter.count <= this.#ended);
    this.#waiting = this.#waiting.filter((waiter) => waiter.count > this.#ended);
    for (const waiter of reached) waiter.reached();
  }

  issue(credential: IssuedCredential): void {
    this.#issued.push(credential);
    if (this.#issued.length > LISTED) this.#issued.shift();
  }

  /** Resolves once this many calls have ended since the start (a hung call has ended, too). */
  reached(count: number): Promise<void> {
    if (this.#ended >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, reached: resolve }));
  }

  snapshot(): StsCounters {
    return structuredClone({ total: this.#arrived, calls: this.#calls, issued: this.#issued });
  }
}
