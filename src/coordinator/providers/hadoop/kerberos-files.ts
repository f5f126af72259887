/**
 * The two files of MIT Kerberos, as far as they must be read: who is in a keytab, and until when a
 * FILE credential cache is good. Owns their layouts; keys and tickets are skipped, never kept.
 */
import { EvergrantError } from "../../../protocol/errors.ts";
import { type EpochMs, epochMs } from "../../../protocol/time.ts";

/** What is known of a credential cache. */
export interface CacheFacts {
  readonly principal: string;
  /** When the ticket-granting ticket began and ends, by the KDC's clock; undefined: there is none. */
  readonly startsAt: EpochMs | undefined;
  readonly endsAt: EpochMs | undefined;
}

class BinaryReader {
  readonly #view: DataView;
  readonly #what: string;
  at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  get remaining(): number {
    return this.#view.byteLength - this.at;
  }

  skip(length: number): void {
    if (length < 0 || length > this.remaining) throw this.broken();
    this.at += length;
  }

  uint(bytes: 1 | 2 | 4): number {
    const start = this.at;
    this.skip(bytes);
    if (bytes === 1) return this.#view.getUint8(start);
    return bytes === 2 ? this.#view.getUint16(start) : this.#view.getUint32(start);
  }

  int32(): number {
    return this.uint(4) | 0;
  }

  text(lengthBytes: 2 | 4): string {
    const length = this.uint(lengthBytes);
    const start = this.at;
    this.skip(length);
    const { buffer, byteOffset } = this.#view;
    return Buffer.from(buffer, byteOffset + start, length).toString("utf8");
  }

  data(): void {
    this.skip(this.uint(4));
  }

  broken(): EvergrantError {
    return new EvergrantError("PROVIDER_INPUT_MISSING", `${this.#what} is cut or of another form`);
  }
}

/** The principals that a keytab (version 0x502) has keys for. @throws PROVIDER_INPUT_MISSING when it is none. */
export function keytabPrincipals(bytes: Uint8Array, path: string): ReadonlySet<string> {
  const reader = new BinaryReader(bytes, `the keytab ${path}`);
  if (reader.uint(2) !== 0x0502) throw reader.broken();
  const principals = new Set<string>();
  while (reader.remaining >= 4) {
    const size = reader.int32();
    if (size === 0) break;
    const end = reader.at + Math.abs(size);
    if (size > 0) {
      const components = reader.uint(2);
      const realm = reader.text(2);
      const names = Array.from({ length: Math.min(components, 64) }, () => reader.text(2));
      principals.add(`${names.join("/")}@${realm}`);
    }
    reader.skip(end - reader.at);
  }
  return principals;
}

/** Reads a FILE credential cache of version 4. @throws PROVIDER_INPUT_MISSING when it is none. */
export function cacheFacts(bytes: Uint8Array, path: string): CacheFacts {
  const reader = new BinaryReader(bytes, `the credential cache ${path}`);
  if (reader.uint(2) !== 0x0504) throw reader.broken();
  reader.skip(reader.uint(2));
  const owner = readPrincipal(reader);
  let best: { starts: number; ends: number } | undefined;
  while (reader.remaining > 0) {
    const { server, starts, ends } = readCredential(reader);
    const grantsTickets = server.names[0] === "krbtgt" && server.names[1] === owner.realm;
    if (grantsTickets && ends > (best?.ends ?? 0)) best = { starts, ends };
  }
  return {
    principal: `${owner.names.join("/")}@${owner.realm}`,
    startsAt: best && epochMs(best.starts * 1000),
    endsAt: best && epochMs(best.ends * 1000),
  };
}

interface Principal {
  readonly realm: string;
  readonly names: readonly string[];
}

function readPrincipal(reader: BinaryReader): Principal {
  reader.skip(4); // name type
  const components = reader.uint(4);
  if (components > 64) throw reader.broken();
  const realm = reader.text(4);
  return { realm, names: Array.from({ length: components }, () => reader.text(4)) };
}

function readCredential(reader: BinaryReader): { server: Principal; starts: number; ends: number } {
  readPrincipal(reader);
  const server = readPrincipal(reader);
  reader.skip(2);
  reader.data(); // session key
  const authenticated = reader.uint(4);
  const starts = reader.uint(4) || authenticated;
  const ends = reader.uint(4);
  reader.skip(4 + 1 + 4); // renewable until, is_skey, flags
  for (const _list of ["addresses", "authorization data"]) {
    for (let left = reader.uint(4); left > 0; left -= 1) {
      reader.skip(2);
      reader.data();
    }
  }
  reader.data(); // ticket
  reader.data(); // second ticket
  return { server, starts, ends };
}
