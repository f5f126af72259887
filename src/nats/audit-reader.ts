/** Reads the audit events of one job from the stream, for operators. */
import { DeliverPolicy, jetstream } from "@nats-io/jetstream";
import { type AuditEvent, auditEventSchema } from "../protocol/audit.ts";
import { parseJson, text } from "../protocol/encoding.ts";
import { EvergrantError } from "../protocol/errors.ts";
import type { JobId } from "../protocol/names.ts";
import { AUDIT_STREAM, subject } from "../protocol/subjects.ts";
import { type EpochMs, toRfc3339 } from "../protocol/time.ts";
import type { Broker } from "./connect.ts";
import { isMissingStream } from "./nats-kv.ts";

export interface ReadAuditOptions {
  /** Default: from the oldest that is kept. */
  readonly since?: EpochMs;
  /** True: goes on with new events until the caller stops. Default false: ends with the newest. */
  readonly follow?: boolean;
}

/**
 * The events in the order in which they were stored. What is no audit event is left out.
 * @throws STORE_UNAVAILABLE
 */
export async function* readAudit(
  { nc }: Broker,
  id: JobId,
  { since, follow = false }: ReadAuditOptions = {},
): AsyncGenerator<AuditEvent, void> {
  try {
    const consumer = await jetstream(nc).consumers.getPushConsumer(AUDIT_STREAM, {
      filter_subjects: subject.audit(id),
      ...(since === undefined
        ? { deliver_policy: DeliverPolicy.All }
        : { deliver_policy: DeliverPolicy.StartTime, opt_start_time: toRfc3339(since) }),
    });
    const info = await consumer.info(true);
    if (!follow && info.num_pending === 0) return;
    const messages = await consumer.consume();
    try {
      for await (const message of messages) {
        const event = eventIn(message.data);
        if (event !== undefined) yield event;
        if (!follow && message.info.pending === 0) return;
      }
    } finally {
      messages.stop();
    }
  } catch (thrown) {
    // No event was ever stored.
    if (isMissingStream(thrown) && !follow) return;
    throw EvergrantError.from(thrown, "STORE_UNAVAILABLE", "reading the audit");
  }
}

function eventIn(data: Uint8Array): AuditEvent | undefined {
  try {
    return parseJson(auditEventSchema, text(data), "audit event");
  } catch {
    return undefined;
  }
}
