/**
 * What the coordinator hears from agents and operators, already opened and authenticated, and what
 * it says to them. Sealing and signing happen behind this port; judging happens in the core.
 */
import type { AnswerEnvelope, CommandEnvelope } from "../../protocol/control.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import type { Notice } from "../../protocol/notice.ts";
import type { Done } from "../../protocol/outcome.ts";
import type { Report } from "../../protocol/report.ts";
import type { Admission, RegisterDecision, RegisterFacts } from "../core/effects.ts";

/** Names a received request until it is answered; means nothing outside of the process. */
export type RequestId = number;

/** What the request brought to be let in with. Signatures are checked; expiry, counts and bans are not. */
export type { Admission } from "../core/effects.ts";

export type LinkEvent =
  | {
      readonly kind: "register";
      readonly request: RequestId;
      readonly body: RegisterFacts;
      readonly admission: Admission;
    }
  | { readonly kind: "report"; readonly report: Report }
  | { readonly kind: "command"; readonly request: RequestId; readonly envelope: CommandEnvelope }
  /** Something that did not parse or was not genuine: counted, never more. */
  | { readonly kind: "refused"; readonly code: ErrorCode }
  /** The connection to the broker is there (again), or gone. */
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected" };

export type { RegisterDecision } from "../core/effects.ts";

export interface AgentLink {
  /**
   * Subscribes. Connections are told of until `close`; what agents and operators say only while it is
   * attended to. Calling it twice is an error of the caller.
   */
  listen(emit: (event: LinkEvent) => void): void;
  /**
   * Whether what agents and operators say is for this coordinator; at first it is not. A standby opens
   * none of it: ten thousand acks are no work of its, and no secret of a join passes through it.
   */
  attend(on: boolean): void;
  answerRegister(request: RequestId, decision: RegisterDecision, done: Done<void>): void;
  answerCommand(request: RequestId, answer: AnswerEnvelope, done: Done<void>): void;
  /** Sends the sealed bundle once more to each of these agents. */
  push(agents: readonly string[], sealed: Uint8Array, done: Done<void>): void;
  notify(notice: Notice, done: Done<void>): void;
  close(done: Done<void>): void;
}
