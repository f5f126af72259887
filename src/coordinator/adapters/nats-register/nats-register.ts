/**
 * A register on one key of a KV bucket: read from the leader, written by compare-and-set. Owns the
 * meaning of the store's answers; refuses to know what the bytes are and to retry: a write whose
 * answer was lost may have happened, and only its writer can tell (I5).
 */
import type { KV } from "@nats-io/kv";
import type { OpenBucket } from "../../../nats/nats-kv.ts";
import { isMissingStream } from "../../../nats/nats-kv.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { type Done, failure, success } from "../../../protocol/outcome.ts";
import type { CasRegister, Reading, Revision } from "../../ports/cas-register.ts";
import { nobodyThere, storeError } from "./store-error.ts";

/** Reads of a store that is being made anew: more than once in one read happens to nobody. */
const READ_ROUNDS = 3;

export function natsRegister(bucket: OpenBucket, key: string): CasRegister<Uint8Array> {
  const { kv } = bucket;
  /** The incarnation that the last read saw. */
  let known: string | undefined;

  const read = async (): Promise<Reading<Uint8Array>> => {
    for (let round = 0; round < READ_ROUNDS; round += 1) {
      const before = known ?? (await bucket.incarnation());
      const found = await stored(kv, key);
      known = await bucket.incarnation();
      // A store can't get its old creation time back: the value between two equal ones is of it.
      if (known === before && found !== "no stream") return { entry: found, incarnation: known };
    }
    throw new EvergrantError("STORE_UNAVAILABLE", `the store of ${key} keeps being made anew`);
  };

  const write = async (expected: Revision | undefined, value: Uint8Array): Promise<Revision> => {
    const put = () =>
      expected === undefined ? create(kv, key, value) : kv.update(key, value, expected);
    if (expected !== undefined && expected < 1) throw conflict(key);
    try {
      return await put();
    } catch (thrown) {
      // Without a stream nobody took it, so nothing was written and it may be tried once more.
      if (!(nobodyThere(thrown) || isMissingStream(thrown)) || !(await bucket.ensure()))
        throw thrown;
      if (expected === undefined) return await put();
      throw conflict(key);
    }
  };

  return {
    read: (done) => run(read, done, `reading ${key}`),
    write: (expected, value, done) => run(() => write(expected, value), done, `writing ${key}`),
    remove: (done) => run(() => kv.purge(key), done, `removing ${key}`),
  };
}

async function stored(kv: KV, key: string): Promise<Reading<Uint8Array>["entry"] | "no stream"> {
  try {
    const entry = await kv.get(key);
    if (entry === null || entry.operation !== "PUT") return undefined;
    return { revision: entry.revision, value: entry.value };
  } catch (thrown) {
    if (isMissingStream(thrown)) return "no stream";
    throw thrown;
  }
}

/**
 * Writes where nothing is, or over the marker that a removal leaves. The library's own `create` goes
 * on to look for a marker after any error, and so takes three timeouts where one says enough.
 */
async function create(kv: KV, key: string, value: Uint8Array): Promise<Revision> {
  try {
    return await kv.put(key, value, { previousSeq: 0 });
  } catch (thrown) {
    if (storeError(thrown, "").code !== "STORE_CONFLICT") throw thrown;
    const entry = await kv.get(key);
    if (entry === null || entry.operation === "PUT") throw thrown;
    return await kv.put(key, value, { previousSeq: entry.revision });
  }
}

const conflict = (key: string): EvergrantError =>
  new EvergrantError("STORE_CONFLICT", `${key} does not have the expected revision`);

function run<T>(work: () => Promise<T>, done: Done<T>, doing: string): void {
  Promise.resolve()
    .then(work)
    .then(
      (value) => done(success(value)),
      (thrown: unknown) => done(failure(storeError(thrown, doing))),
    );
}
