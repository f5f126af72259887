/**
 * Saying something over a connection that has no buffer for bad times: what is published while it is
 * away is lost without a word, so each send ends with proof that the server has it all, or an error.
 */
import { bounded } from "../../../nats/bounded.ts";
import type { Broker } from "../../../nats/connect.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { type DurationMs, seconds } from "../../../protocol/time.ts";

export interface Letter {
  readonly subject: string;
  readonly data: Uint8Array;
}

/** What the client may hold in memory before the server has taken it. */
const CHUNK_BYTES = 4 * 1024 * 1024;

/** @throws BROKER_UNAVAILABLE when not all of it may have arrived; MESSAGE_TOO_LARGE */
export async function send(
  broker: Broker,
  letters: Iterable<Letter>,
  limit: DurationMs = seconds(5),
): Promise<void> {
  let pending = 0;
  for (const { subject, data } of letters) {
    publish(broker, subject, data);
    pending += data.length;
    if (pending < CHUNK_BYTES) continue;
    await flush(broker, limit);
    pending = 0;
  }
  await flush(broker, limit);
}

/** Without the proof, for answers: whoever asked asks again. @throws BROKER_UNAVAILABLE, MESSAGE_TOO_LARGE */
export function publish({ nc, connected }: Broker, subject: string, data: Uint8Array): void {
  if (!connected()) throw new EvergrantError("BROKER_UNAVAILABLE", "not connected to the broker");
  const most = nc.info?.max_payload ?? Number.POSITIVE_INFINITY;
  if (data.length > most) {
    const message = `a message of ${data.length} bytes, more than the server's ${most}`;
    throw new EvergrantError("MESSAGE_TOO_LARGE", message);
  }
  nc.publish(subject, data);
}

async function flush({ nc, clock }: Broker, limit: DurationMs): Promise<void> {
  try {
    await bounded(clock, limit, nc.flush(), () => {
      throw new EvergrantError("BROKER_UNAVAILABLE", "the broker does not answer");
    });
  } catch (thrown) {
    throw EvergrantError.from(thrown, "BROKER_UNAVAILABLE", "sending");
  }
}
