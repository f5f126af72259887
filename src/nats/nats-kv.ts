/**
 * The three shared buckets: opening them as the protocol wants them, and proving that they are so.
 * Owns their configuration; refuses to know what is stored in them.
 */
import {
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  jetstream,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { type KV, Kvm, type KvOptions } from "@nats-io/kv";
import { EvergrantError } from "../protocol/errors.ts";
import { BUCKET, BUNDLE_REPUBLISH } from "../protocol/subjects.ts";
import { type DurationMs, seconds } from "../protocol/time.ts";
import type { Broker } from "./connect.ts";
import { serverAtLeast } from "./fitness.ts";

export type BucketKind = keyof typeof BUCKET;

export interface KvSettings {
  /** Undefined: 1 where the bucket is made here, and whatever it is where it exists. */
  readonly replicas?: number;
  /** For each request. Default 2 s. */
  readonly requestTimeout?: DurationMs;
}

export interface OpenBucket {
  /** Reads from the leader. */
  readonly kv: KV;
  /** Its creation time: another one means that the store was lost. Makes it anew where it is missing. */
  incarnation(): Promise<string>;
  /** Makes it where it is missing. True if it was. @throws BROKER_UNFIT, STORE_UNAVAILABLE */
  ensure(): Promise<boolean>;
}

interface Wanted {
  readonly history: number;
  readonly republish?: { readonly src: string; readonly dest: string };
}

const WANTED: Readonly<Record<BucketKind, Wanted>> = {
  lease: { history: 1 },
  // Some past versions for a human who has to understand an accident.
  state: { history: 5 },
  // Storing it and broadcasting it are one write.
  bundle: { history: 1, republish: BUNDLE_REPUBLISH },
};

/** True for the answer that the stream behind a bucket does not exist. */
export const isMissingStream = (thrown: unknown): boolean =>
  thrown instanceof JetStreamApiError && thrown.code === JetStreamApiCodes.StreamNotFound;

/**
 * Opens a bucket, making it where it is missing, and compares it with what is wanted: the library
 * opens an existing one however it is configured.
 * @throws BROKER_UNFIT when it differs, or replicas above 1 are asked of a server below 2.11;
 * STORE_UNAVAILABLE
 */
export async function openBucket(
  broker: Broker,
  kind: BucketKind,
  settings: KvSettings = {},
): Promise<OpenBucket> {
  const { nc } = broker;
  const name = BUCKET[kind];
  const js = jetstream(nc, { timeout: settings.requestTimeout ?? seconds(2) });
  const jsm = await js.jetstreamManager(false);
  const kvm = new Kvm(js);
  const ensure = async (): Promise<boolean> => {
    refuseReplicas(settings.replicas ?? 1, broker, name);
    const existed = await exists(jsm, name);
    await kvm.create(name, bucketOptions(kind, settings.replicas ?? 1));
    const { config } = await jsm.streams.info(streamOf(name));
    refuseReplicas(config.num_replicas, broker, name);
    compare(name, config, WANTED[kind], settings.replicas);
    return !existed;
  };
  try {
    await ensure();
  } catch (thrown) {
    throw EvergrantError.from(thrown, "STORE_UNAVAILABLE", `opening bucket ${name}`);
  }
  return {
    kv: await kvm.open(name, { allow_direct: false }),
    ensure,
    async incarnation() {
      try {
        return (await jsm.streams.info(streamOf(name))).created;
      } catch (thrown) {
        if (!isMissingStream(thrown)) throw thrown;
        await ensure();
        return (await jsm.streams.info(streamOf(name))).created;
      }
    },
  };
}

const streamOf = (bucket: string): string => `KV_${bucket}`;

async function exists(jsm: JetStreamManager, bucket: string): Promise<boolean> {
  try {
    await jsm.streams.info(streamOf(bucket));
    return true;
  } catch (thrown) {
    if (isMissingStream(thrown)) return false;
    throw thrown;
  }
}

function bucketOptions(kind: BucketKind, replicas: number): Partial<KvOptions> {
  const { history, republish } = WANTED[kind];
  return {
    storage: StorageType.File,
    history,
    replicas,
    // Reads decide things: never from a replica that lags.
    allow_direct: false,
    ...(republish === undefined ? {} : { republish: { ...republish } }),
  };
}

/** Compare-and-set on replicated streams lets two writers win below 2.11 (nats-server#4320). */
function refuseReplicas(replicas: number, { nc }: Broker, bucket: string): void {
  if (replicas <= 1 || serverAtLeast(nc, 2, 11)) return;
  throw new EvergrantError(
    "BROKER_UNFIT",
    `bucket ${bucket} with ${replicas} replicas needs nats-server 2.11 or newer, this is ${nc.info?.version}`,
  );
}

function compare(
  bucket: string,
  have: StreamConfig,
  wanted: Wanted,
  replicas: number | undefined,
): void {
  const faults: string[] = [];
  const expect = (what: string, found: unknown, want: unknown) => {
    if (found !== want) faults.push(`${what} is ${String(found)}, not ${String(want)}`);
  };
  expect("storage", have.storage, StorageType.File);
  expect("history", have.max_msgs_per_subject, wanted.history);
  expect("allow_direct", have.allow_direct ?? false, false);
  // A lease or a state that the store forgets by itself would be lost without a writer.
  expect("ttl", have.max_age, 0);
  expect("republish source", have.republish?.src, wanted.republish?.src);
  expect("republish destination", have.republish?.dest, wanted.republish?.dest);
  if (replicas !== undefined) expect("replicas", have.num_replicas, replicas);
  if (faults.length === 0) return;
  throw new EvergrantError(
    "BROKER_UNFIT",
    `bucket ${bucket} exists with another configuration: ${faults.join("; ")}`,
  );
}
