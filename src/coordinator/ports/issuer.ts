/** One provider as the driver asks it: a call with a hard end, and its outcome by callback. */
import type { Credential } from "../../protocol/credential.ts";
import type { Done, Outcome } from "../../protocol/outcome.ts";
import type { DurationMs } from "../../protocol/time.ts";
import type { ObtainedFacts } from "../core/effects.ts";

export interface IssuerCall {
  readonly current: Credential | undefined;
  readonly freshIdentity: boolean;
  readonly replace: boolean;
  readonly timeout: DurationMs;
}

export interface Issuer {
  /** Calls `done` once, at the latest when `timeout` is over, with the requests that were counted. */
  obtain(call: IssuerCall, done: (outcome: Outcome<ObtainedFacts>, requests: number) => void): void;
  /** Cancels what can be cancelled. */
  cancel(credential: Credential, timeout: DurationMs, done: Done<void>): void;
  close(done: Done<void>): void;
}
