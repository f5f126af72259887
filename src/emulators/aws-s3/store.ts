/** Objects in memory, and how they are listed. Knows no HTTP. */
import { createHash } from "node:crypto";
import type { EpochMs } from "../../protocol/time.ts";

export interface StoredObject {
  readonly data: Buffer;
  /** MD5 in quotes, as S3 shows it. */
  readonly etag: string;
  readonly modifiedAt: EpochMs;
  /** Headers that come back with the object: content-type, x-amz-meta-* and the like. */
  readonly headers: Readonly<Record<string, string>>;
  /** `x-amz-checksum-*` headers, shown on demand. */
  readonly checksums: Readonly<Record<string, string>>;
}

export interface ListRequest {
  readonly prefix: string;
  readonly delimiter: string;
  /** Only keys after this one. */
  readonly after: string;
  readonly maxKeys: number;
}

export interface Listing {
  readonly keys: readonly (readonly [key: string, object: StoredObject])[];
  readonly commonPrefixes: readonly string[];
  /** Where the next page starts, when there is one. */
  readonly next?: string;
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

export class ObjectStore {
  readonly #buckets = new Map<string, Map<string, StoredObject>>();

  put(bucket: string, key: string, object: Omit<StoredObject, "etag">): StoredObject {
    const etag = `"${createHash("md5").update(object.data).digest("hex")}"`;
    const stored = { ...object, etag };
    const objects = this.#buckets.get(bucket) ?? new Map<string, StoredObject>();
    this.#buckets.set(bucket, objects.set(key, stored));
    return stored;
  }

  get(bucket: string, key: string): StoredObject | undefined {
    return this.#buckets.get(bucket)?.get(key);
  }

  /** In the order of UTF-8 bytes. Keys that share a common prefix up to the delimiter count once. */
  list(bucket: string, { prefix, delimiter, after, maxKeys }: ListRequest): Listing {
    const found = [...(this.#buckets.get(bucket) ?? [])]
      .filter(([key]) => key.startsWith(prefix))
      .sort(([a], [b]) => byBytes(a, b));
    const keys: (readonly [string, StoredObject])[] = [];
    const commonPrefixes: string[] = [];
    let last = "";
    for (const [key, object] of found) {
      const cut = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
      const folded = cut < 0 ? undefined : key.slice(0, cut + delimiter.length);
      if (
        byBytes(folded ?? key, after) <= 0 ||
        (folded === commonPrefixes.at(-1) && folded !== undefined)
      )
        continue;
      if (keys.length + commonPrefixes.length >= maxKeys) {
        return { keys, commonPrefixes, next: last };
      }
      if (folded === undefined) keys.push([key, object]);
      else commonPrefixes.push(folded);
      last = folded ?? key;
    }
    return { keys, commonPrefixes };
  }
}
