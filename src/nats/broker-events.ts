/** What happens to a connection, in our words. Owns the reading of the client library's status events. */
import {
  AuthorizationError,
  PermissionViolationError,
  type Status,
  UserAuthenticationExpiredError,
} from "@nats-io/transport-node";
import { EvergrantError } from "../protocol/errors.ts";

export type BrokerFault =
  /** The server refuses this client a subject: its permissions lack a line. */
  | { readonly kind: "permission"; readonly operation: string; readonly subject: string }
  /** The login was refused, or has ended. The client goes on trying. */
  | { readonly kind: "login" }
  /** The server has not answered pings: the connection is dropped and made anew. */
  | { readonly kind: "stale" }
  /** The server came back as one that can't serve us (fitness.ts). */
  | { readonly kind: "unfit"; readonly error: EvergrantError }
  | { readonly kind: "protocol"; readonly name: string };

export type BrokerEvent =
  /** At start, while no server can be reached. `attempts` so far; `error` of the last one. */
  | { readonly kind: "waiting"; readonly attempts: number; readonly error: EvergrantError }
  /** `again`: after a loss. What was published in between is lost (there is no buffer). */
  | { readonly kind: "connected"; readonly again: boolean }
  | { readonly kind: "disconnected" }
  | { readonly kind: "fault"; readonly fault: BrokerFault }
  /** For good: nothing more comes. `error` when nobody asked for it. */
  | { readonly kind: "closed"; readonly error: EvergrantError | undefined };

/** Undefined for what nobody needs to know. */
export function eventOf(status: Status): BrokerEvent | undefined {
  switch (status.type) {
    case "reconnect":
      return { kind: "connected", again: true };
    case "disconnect":
      return { kind: "disconnected" };
    case "staleConnection":
      return { kind: "fault", fault: { kind: "stale" } };
    case "error":
      return { kind: "fault", fault: faultOf(status.error) };
    default:
      return undefined;
  }
}

function faultOf(error: Error): BrokerFault {
  if (error instanceof PermissionViolationError) {
    return { kind: "permission", operation: error.operation, subject: error.subject };
  }
  if (error instanceof AuthorizationError || error instanceof UserAuthenticationExpiredError) {
    return { kind: "login" };
  }
  return { kind: "protocol", name: error.name };
}

/** Why a connect failed. Server addresses are no secret, passwords are never in the library's errors. */
export function connectError(thrown: unknown, servers: readonly string[]): EvergrantError {
  const where = servers.join(", ");
  if (thrown instanceof EvergrantError) return thrown;
  if (thrown instanceof AuthorizationError || thrown instanceof UserAuthenticationExpiredError) {
    return new EvergrantError("BROKER_UNAVAILABLE", `${where} refuses the login`, {
      cause: thrown,
      details: { login: true },
    });
  }
  return EvergrantError.from(thrown, "BROKER_UNAVAILABLE", `connecting to ${where}`);
}
