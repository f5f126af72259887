/**
 * Everything that can happen to the core, and everything that it can ask for. Each effect is one
 * I/O; its outcome comes back as the event that bears the same `op`, or never (the process died).
 */
import type { AuditEvent } from "../../protocol/audit.ts";
import type { Bundle } from "../../protocol/bundle.ts";
import type { AnswerEnvelope, CommandEnvelope, Reason } from "../../protocol/control.ts";
import type { Attributes, Credential, Material } from "../../protocol/credential.ts";
import type { ErrorCode, EvergrantError } from "../../protocol/errors.ts";
import type { JoinToken, Ticket } from "../../protocol/join.ts";
import type { Version } from "../../protocol/names.ts";
import type { Notice } from "../../protocol/notice.ts";
import type { Outcome } from "../../protocol/outcome.ts";
import type { RegisterBody } from "../../protocol/register.ts";
import type { Report } from "../../protocol/report.ts";
import type { Secret } from "../../protocol/secret.ts";
import type { DurationMs, EpochMs } from "../../protocol/time.ts";
import type { JobState } from "./job-state.ts";
import type { LeaseRecord } from "./lease-record.ts";

/** Names one I/O until its outcome is in. Grows, never reused. */
export type Op = number;

export interface Stored<T> {
  readonly revision: number;
  readonly value: T;
}

export interface StoreReading<T> {
  readonly entry: Stored<T> | undefined;
  readonly incarnation: string;
}

/** What a provider's attempt gave. */
export interface ObtainedFacts {
  readonly material: Secret<Material>;
  readonly expiresAt: EpochMs | undefined;
  readonly issuedAt: EpochMs | undefined;
  readonly issuerTime: EpochMs | undefined;
  readonly attributes: Attributes;
  readonly problem: EvergrantError | undefined;
}

export type Admission =
  | { readonly kind: "token"; readonly token: JoinToken }
  | { readonly kind: "ticket"; readonly ticket: Ticket }
  | { readonly kind: "none"; readonly code: ErrorCode };

export type RegisterFacts = Omit<RegisterBody, "token" | "ticket" | "replyKey">;

export type RegisterDecision =
  | {
      readonly accepted: true;
      readonly term: number;
      readonly generation: number;
      readonly timeMs: number;
      /** The first seals; all open. */
      readonly groupKids: readonly string[];
      readonly beatMs: number;
      /** The current sealed bundle, if there is one. */
      readonly bundle: Uint8Array | undefined;
    }
  | { readonly accepted: false; readonly code: ErrorCode; readonly timeMs: number };

export interface Attempt {
  readonly provider: string;
  readonly generation: number;
  readonly attempt: number;
}

export type Event =
  | { readonly kind: "start" }
  /** The moment that `wakeAt` named has come. */
  | { readonly kind: "tick" }
  /** SIGTERM: hand over. */
  | { readonly kind: "hand-over" }
  /** The driver ends the job. */
  | { readonly kind: "end" }
  | {
      readonly kind: "lease-read";
      readonly op: Op;
      readonly outcome: Outcome<StoreReading<LeaseRecord>>;
    }
  | { readonly kind: "lease-written"; readonly op: Op; readonly outcome: Outcome<number> }
  | {
      readonly kind: "state-read";
      readonly op: Op;
      readonly outcome: Outcome<StoreReading<JobState>>;
    }
  | { readonly kind: "state-written"; readonly op: Op; readonly outcome: Outcome<number> }
  /** Only the readable version of the stored bundle: what is in it is derived from the state. */
  | {
      readonly kind: "bundle-read";
      readonly op: Op;
      readonly outcome: Outcome<StoreReading<Version>>;
    }
  | { readonly kind: "bundle-written"; readonly op: Op; readonly outcome: Outcome<number> }
  | { readonly kind: "bundle-sealed"; readonly op: Op; readonly outcome: Outcome<Uint8Array> }
  | {
      readonly kind: "obtained";
      readonly op: Op;
      readonly provider: string;
      /** Requests to the issuer under this attempt. */
      readonly requests: number;
      readonly outcome: Outcome<ObtainedFacts>;
    }
  | { readonly kind: "queue-ensured"; readonly op: Op; readonly outcome: Outcome<number> }
  | { readonly kind: "queue-back" }
  | { readonly kind: "due"; readonly attempt: Attempt }
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected" }
  | {
      readonly kind: "register";
      readonly request: number;
      readonly body: RegisterFacts;
      readonly admission: Admission;
    }
  | { readonly kind: "report"; readonly report: Report }
  | { readonly kind: "command"; readonly request: number; readonly envelope: CommandEnvelope }
  | { readonly kind: "refused"; readonly code: ErrorCode }
  /** One step of ending or handing over is done, or failed: either way the next one follows. */
  | { readonly kind: "step-done"; readonly op: Op; readonly outcome: Outcome<void> };

export type LogLevel = "debug" | "info" | "warn" | "error";

export type Effect =
  | { readonly kind: "read-lease"; readonly op: Op }
  | {
      readonly kind: "write-lease";
      readonly op: Op;
      readonly expected: number | undefined;
      readonly record: LeaseRecord;
    }
  | { readonly kind: "read-state"; readonly op: Op }
  | {
      readonly kind: "write-state";
      readonly op: Op;
      readonly expected: number | undefined;
      readonly state: JobState;
    }
  | { readonly kind: "read-bundle"; readonly op: Op }
  | {
      readonly kind: "write-bundle";
      readonly op: Op;
      readonly expected: number | undefined;
      readonly sealed: Uint8Array;
    }
  | { readonly kind: "seal-bundle"; readonly op: Op; readonly bundle: Bundle; readonly kid: string }
  | {
      readonly kind: "obtain";
      readonly op: Op;
      readonly provider: string;
      readonly reason: Reason;
      readonly current: Credential | undefined;
      readonly freshIdentity: boolean;
      readonly replace: boolean;
      readonly timeout: DurationMs;
    }
  | {
      readonly kind: "ensure-queue";
      readonly op: Op;
      readonly plan: readonly (Attempt & { readonly delay: DurationMs })[];
    }
  /** Leadership has begun, or is put down: what queue, agents and operators say is for us, or for others. */
  | { readonly kind: "attend"; readonly on: boolean }
  | {
      readonly kind: "answer-register";
      readonly request: number;
      readonly decision: RegisterDecision;
    }
  | { readonly kind: "answer-command"; readonly request: number; readonly answer: AnswerEnvelope }
  | { readonly kind: "push"; readonly agents: readonly string[]; readonly sealed: Uint8Array }
  | { readonly kind: "notify"; readonly notice: Notice }
  | { readonly kind: "audit"; readonly event: AuditEvent }
  | {
      readonly kind: "log";
      readonly level: LogLevel;
      readonly message: string;
      readonly facts: Readonly<Record<string, unknown>>;
    }
  // The last steps of a job, one at a time, each answered by `step-done`.
  | {
      readonly kind: "cancel";
      readonly op: Op;
      readonly provider: string;
      readonly credential: Credential;
    }
  | { readonly kind: "remove-keys"; readonly op: Op }
  | { readonly kind: "obliterate-queue"; readonly op: Op }
  /** The core is done: the process may end. */
  | { readonly kind: "finished"; readonly how: "handed-over" | "ended" };
