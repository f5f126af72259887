/**
 * What the agent says to its coordinator and hears from it. Authentication, sealing and the wire are
 * behind this port; bundles come as sealed bytes, since opening them is another port's matter.
 */
import type { ErrorCode } from "../../protocol/errors.ts";
import type { Version } from "../../protocol/names.ts";
import type { Notice } from "../../protocol/notice.ts";
import type { Done } from "../../protocol/outcome.ts";
import type { RegisterAnswer } from "../../protocol/register.ts";
import type { Report } from "../../protocol/report.ts";

export type LinkEvent =
  /** Subscribed and flushed, at first and after each loss: what is sent from now on is heard. */
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected" }
  | { readonly kind: "bundle"; readonly sealed: Uint8Array }
  /** Genuine by its signature; whether it is fresh is judged in the core. */
  | { readonly kind: "notice"; readonly notice: Notice }
  /** Something that did not parse or was not genuine: counted, never more. */
  | { readonly kind: "refused"; readonly code: ErrorCode };

export interface RegisterRequest {
  /** Present: it speaks in place of the join token. */
  readonly ticket: string | undefined;
  readonly highest: Version;
  readonly receivers: readonly { readonly kind: string; readonly provider: string }[];
}

export interface CoordinatorLink {
  /** Connects and subscribes. Events come until `close`; calling it twice is an error of the caller. */
  listen(emit: (event: LinkEvent) => void): void;
  /**
   * One attempt, with the join file as it is now. Fails with NO_COORDINATOR when nobody answers in
   * time, BROKER_UNAVAILABLE, MESSAGE_FORGED, MESSAGE_MALFORMED or MESSAGE_REPLAYED.
   */
  register(request: RegisterRequest, done: Done<RegisterAnswer>): void;
  /** Sends once, with no answer to wait for. Fails with BROKER_UNAVAILABLE while disconnected. */
  report(report: Report, macKey: Uint8Array, done: Done<void>): void;
  close(done: Done<void>): void;
}
