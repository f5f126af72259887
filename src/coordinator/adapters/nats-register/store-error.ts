/** What a failed request to the store means. Codes decide, never texts. */
import { JetStreamApiError } from "@nats-io/jetstream";
import { InvalidArgumentError, RequestError } from "@nats-io/transport-node";
import { EvergrantError } from "../../../protocol/errors.ts";

/** "wrong last sequence", in its two forms. */
const CONFLICTS = [10_071, 10_164];
const TOO_LARGE = 10_054;

/** Everything that leaves the outcome open is STORE_UNAVAILABLE: timeouts, elections, 503 with 10163. */
export function storeError(thrown: unknown, doing: string): EvergrantError {
  if (thrown instanceof EvergrantError) return thrown;
  if (thrown instanceof JetStreamApiError) {
    const details = { apiCode: thrown.code, status: thrown.status };
    if (CONFLICTS.includes(thrown.code)) {
      const message = `${doing}: somebody else wrote first`;
      return new EvergrantError("STORE_CONFLICT", message, { cause: thrown, details });
    }
    const code = thrown.code === TOO_LARGE ? "MESSAGE_TOO_LARGE" : "STORE_UNAVAILABLE";
    return new EvergrantError(code, `${doing} failed`, { cause: thrown, details });
  }
  // The client checks the size itself.
  if (thrown instanceof InvalidArgumentError) {
    return new EvergrantError("MESSAGE_TOO_LARGE", `${doing}: the server takes no such size`, {
      cause: thrown,
    });
  }
  return EvergrantError.from(thrown, "STORE_UNAVAILABLE", doing);
}

/** Nobody took the request: for a publish to a stream, there is none (or it has no leader now). */
export const nobodyThere = (thrown: unknown): boolean =>
  thrown instanceof Error && thrown.cause instanceof RequestError && thrown.cause.isNoResponders();
