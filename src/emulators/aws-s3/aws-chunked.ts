/**
 * Decodes `Content-Encoding: aws-chunked` bodies: chunks, their signatures where the upload is signed,
 * and trailers. Source: "Signature calculations … transferring payload in multiple chunks", S3 API reference.
 */
import { sha256Hex, signatureOf } from "../aws-sts/sigv4.ts";

/** What the chunks of a signed upload are checked with. */
export interface ChunkSigning {
  readonly key: Uint8Array;
  readonly amzDate: string;
  readonly scope: string;
  /** The signature of the request's headers: the seed of the chain. */
  readonly seed: string;
}

export type Decoded =
  | { readonly ok: true; readonly data: Buffer; readonly trailers: ReadonlyMap<string, string> }
  | { readonly ok: false; readonly problem: "malformed" | "mismatch" };

const malformed: Decoded = { ok: false, problem: "malformed" };
const mismatch: Decoded = { ok: false, problem: "mismatch" };
const EMPTY = sha256Hex("");

/** Decodes a whole body. With `signing`, every chunk and the trailers must bear their signature. */
export function decodeChunked(body: Buffer, signing?: ChunkSigning): Decoded {
  const parts: Buffer[] = [];
  let at = 0;
  let previous = signing?.seed ?? "";
  const line = (): string | undefined => {
    const end = body.indexOf("\r\n", at, "latin1");
    if (end < 0) return undefined;
    const text = body.toString("latin1", at, end);
    at = end + 2;
    return text;
  };
  for (;;) {
    const header = /^([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line() ?? "");
    if (header === null) return malformed;
    const size = Number.parseInt(header[1] ?? "", 16);
    const chunk = body.subarray(at, at + size);
    if (chunk.length !== size) return malformed;
    if (signing !== undefined) {
      const expected = chain(signing, "PAYLOAD", [previous, EMPTY, sha256Hex(chunk)]);
      if (header[2] !== expected) return mismatch;
      previous = expected;
    }
    if (size === 0) break;
    parts.push(chunk);
    at += size;
    if (line() !== "") return malformed;
  }
  const trailers = new Map<string, string>();
  for (let text = line(); text !== undefined && text !== ""; text = line()) {
    const colon = text.indexOf(":");
    if (colon < 1) return malformed;
    trailers.set(text.slice(0, colon).trim().toLowerCase(), text.slice(colon + 1).trim());
  }
  const signature = trailers.get("x-amz-trailer-signature");
  trailers.delete("x-amz-trailer-signature");
  if (signing !== undefined && trailers.size > 0) {
    const canonical = [...trailers].sort().map(([name, value]) => `${name}:${value}\n`);
    const expected = chain(signing, "TRAILER", [previous, sha256Hex(canonical.join(""))]);
    if (signature !== expected) return mismatch;
  }
  return { ok: true, data: Buffer.concat(parts), trailers };
}

function chain(
  signing: ChunkSigning,
  kind: "PAYLOAD" | "TRAILER",
  rest: readonly string[],
): string {
  const { amzDate, scope, key } = signing;
  return signatureOf(key, [`AWS4-HMAC-SHA256-${kind}`, amzDate, scope, ...rest].join("\n"));
}
