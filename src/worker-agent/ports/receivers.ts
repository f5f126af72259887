/**
 * The receivers of one agent, as the machine drives them: by callbacks around the public SPI
 * (credential-receiver.ts). Never called twice at once for one receiver. All fail with RECEIVER_FAILED.
 */
import type { Done } from "../../protocol/outcome.ts";
import type { ReceiverSpec } from "../core/settings.ts";
import type { Serving } from "./credential-receiver.ts";

export interface Receivers {
  /** Makes and starts the receiver. After a failure it may be called again. */
  start(receiver: string, spec: ReceiverSpec, done: Done<void>): void;
  /** Done when it is proved that a consumer would now get this credential. */
  apply(receiver: string, serving: Serving, done: Done<void>): void;
  withdraw(receiver: string, provider: string, done: Done<void>): void;
  /** Stops all of them. */
  stop(done: Done<void>): void;
}
