/**
 * Audit events to the stream EVERGRANT_AUDIT. Owns the stream's configuration and a bounded spool in
 * memory for bad times, whose oldest go first and are counted; refuses to hold anything up (I6).
 */
import {
  DiscardPolicy,
  JetStreamApiError,
  jetstream,
  RetentionPolicy,
  StorageType,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import { bounded, pause } from "../../../nats/bounded.ts";
import type { Broker } from "../../../nats/connect.ts";
import { isMissingStream } from "../../../nats/nats-kv.ts";
import type { AuditEvent } from "../../../protocol/audit.ts";
import { toBase64Url, utf8 } from "../../../protocol/encoding.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { settle } from "../../../protocol/outcome.ts";
import { AUDIT_STREAM, AUDIT_SUBJECTS, subject } from "../../../protocol/subjects.ts";
import { type DurationMs, durationMs, type Random, seconds } from "../../../protocol/time.ts";
import type { AuditSink } from "../../ports/audit-sink.ts";

export interface NatsAuditOptions {
  readonly broker: Broker;
  readonly random: Random;
  /** How many events wait in memory at most. Default 10,000. */
  readonly spool?: number;
  /** How long `close` waits for what is still to be stored. Default 3 s. */
  readonly closeLimit?: DurationMs;
  /** Of a stream that is made here: how long events are kept. Default 90 days. */
  readonly maxAge?: DurationMs;
  /** Of a stream that is made here: what it may hold. Default 1 GiB. */
  readonly maxBytes?: number;
  readonly replicas?: number;
}

export interface NatsAuditSink extends AuditSink {
  /** For metrics: how many wait now, and how many were stored and dropped since the start. */
  counts(): { readonly waiting: number; readonly stored: number; readonly dropped: number };
}

const DAY = seconds(86_400);
const FIRST_PAUSE = seconds(1);
const LONGEST_PAUSE = seconds(30);
/** For one answer of the stream, in milliseconds. */
const ANSWER_MS = 3000;

interface Spooled {
  readonly event: AuditEvent;
  /** By it the stream knows an event again whose answer was lost. */
  readonly msgID: string;
}

export function natsAudit(options: NatsAuditOptions): NatsAuditSink {
  const { broker, random } = options;
  const { nc, clock } = broker;
  const js = jetstream(nc, { timeout: ANSWER_MS });
  const limit = options.spool ?? 10_000;
  const prefix = toBase64Url(random.bytes(9));
  const spool: Spooled[] = [];
  let numbered = 0;
  let stored = 0;
  let dropped = 0;
  let closing = false;
  let draining: Promise<void> | undefined;
  let made = false;

  const makeStream = async (): Promise<void> => {
    const jsm = await js.jetstreamManager(false);
    try {
      await jsm.streams.info(AUDIT_STREAM);
    } catch (thrown) {
      if (!isMissingStream(thrown)) throw thrown;
      await jsm.streams.add({
        name: AUDIT_STREAM,
        subjects: [AUDIT_SUBJECTS],
        storage: StorageType.File,
        retention: RetentionPolicy.Limits,
        discard: DiscardPolicy.Old,
        max_age: nanos(options.maxAge ?? 90 * DAY),
        max_bytes: options.maxBytes ?? 1024 ** 3,
        num_replicas: options.replicas ?? 1,
      });
    }
    made = true;
  };
  const storeFirst = async (first: Spooled): Promise<void> => {
    if (!made) await makeStream();
    const { event, msgID } = first;
    await js.publish(subject.audit(event), utf8(JSON.stringify(event)), { msgID });
    stored += 1;
  };
  const drain = async (): Promise<void> => {
    let wait = FIRST_PAUSE;
    for (;;) {
      // Taken out only once stored; when the spool overflows meanwhile it may be gone already.
      const [first] = spool;
      if (first === undefined) return;
      try {
        await storeFirst(first);
        wait = FIRST_PAUSE;
      } catch (thrown) {
        if (!refusedForGood(thrown)) {
          if (closing) return;
          // The stream may have been lost with its store.
          made = false;
          await pause(clock, wait, { background: true });
          wait = durationMs(Math.min(LONGEST_PAUSE, wait * 2));
          continue;
        }
        dropped += 1;
      }
      if (spool[0] === first) spool.shift();
    }
  };
  const start = (): void => {
    draining ??= drain().then(
      () => {
        draining = undefined;
      },
      () => {
        draining = undefined;
      },
    );
  };

  return {
    record(event) {
      if (spool.length >= limit) {
        spool.shift();
        dropped += 1;
      }
      numbered += 1;
      spool.push({ event, msgID: `${prefix}-${numbered}` });
      start();
    },
    counts: () => ({ waiting: spool.length, stored, dropped }),
    close(done) {
      closing = true;
      const rest = async (): Promise<void> => {
        if (spool.length > 0) start();
        const time = options.closeLimit ?? seconds(3);
        await bounded(clock, time, draining ?? Promise.resolve(), () => undefined);
        if (spool.length === 0) return;
        throw new EvergrantError("STORE_UNAVAILABLE", "audit events could not be stored", {
          details: { lost: spool.length },
        });
      };
      settle(rest, done, "STORE_UNAVAILABLE", "closing the audit");
    },
  };
}

/** An event that will never be taken (it is too large, say) must not block the others. */
function refusedForGood(thrown: unknown): boolean {
  return thrown instanceof JetStreamApiError && thrown.status === 400 && !isMissingStream(thrown);
}
