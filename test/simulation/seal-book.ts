/**
 * The book of a world with real seals: what is truly under which bytes, whoever has made them, and so
 * what an agent is to make of them. It knows no keys but by their ids; it does what the stand-in's
 * table does, and so tells where the stand-in and the ciphers differ.
 */
import { isDeepStrictEqual } from "node:util";
import type { Bundle } from "../../src/protocol/bundle.ts";
import { credentialToWire } from "../../src/protocol/credential.ts";
import type { ErrorCode } from "../../src/protocol/errors.ts";
import type { Outcome } from "../../src/protocol/outcome.ts";
import type { OpenWith } from "../../src/worker-agent/ports/bundle-opener.ts";
import { refusalOf, type Sealed } from "./seals.ts";

/** A bundle of a coordinator's. */
export interface Genuine extends Sealed {
  readonly bytes: Uint8Array;
  /** The key that it is signed with. */
  readonly signer: string;
}

/** What somebody else has made, and how it is to be refused. */
export interface Forgery {
  readonly bytes: Uint8Array;
  /** The key that it claims to be signed with; undefined: it is refused before that counts. */
  readonly signer: string | undefined;
  readonly code: ErrorCode;
}

type Entry = { readonly label: string } & (Genuine | Forgery);

export class SealBook {
  readonly #genuine: Genuine[] = [];
  readonly #entries = new Map<string, Entry>();

  enter(entry: Genuine): void {
    this.#note(entry, `bundle ${this.#genuine.length}`);
    this.#genuine.push(entry);
  }

  enterForged(entry: Forgery, how: string): void {
    this.#note(entry, `forgery ${this.#entries.size - this.#genuine.length} (${how})`);
  }

  /** The newest bundle that a coordinator has sealed. */
  get newest(): Genuine | undefined {
    return this.#genuine.at(-1);
  }

  any(unit: number): Uint8Array | undefined {
    return this.#genuine[Math.floor(unit * this.#genuine.length)]?.bytes;
  }

  /** @throws RangeError for bytes that no coordinator has sealed. */
  lookUp(sealed: Uint8Array): Genuine {
    const found = this.#find(sealed);
    if (!("bundle" in found)) throw new RangeError(`${found.label} is no bundle`);
    return found;
  }

  label(bytes: Uint8Array): string {
    return this.#find(bytes).label;
  }

  /** The code that these bytes are to be refused with; undefined: they are to open. */
  verdict(
    sealed: Uint8Array,
    trusts: (signer: string) => boolean,
    using: OpenWith,
  ): ErrorCode | undefined {
    const entry = this.#find(sealed);
    // It may be of a key that the agent has yet to learn of.
    if (entry.signer !== undefined && !trusts(entry.signer)) return "KEY_UNKNOWN";
    return "bundle" in entry ? refusalOf(entry, using) : entry.code;
  }

  /** What is wrong with an outcome; undefined when it is as the verdict was. */
  wrong(
    sealed: Uint8Array,
    outcome: Outcome<Bundle>,
    verdict: ErrorCode | undefined,
  ): string | undefined {
    const label = this.label(sealed);
    if (!outcome.ok) {
      const { code } = outcome.error;
      return code === verdict ? undefined : `refuses ${label}: ${code}, not ${verdict ?? "at all"}`;
    }
    if (verdict !== undefined) return `opens ${label}, which is ${verdict}`;
    const same = isDeepStrictEqual(plain(outcome.value), plain(this.lookUp(sealed).bundle));
    return same ? undefined : `reads something else in ${label}`;
  }

  #note(entry: Genuine | Forgery, label: string): void {
    this.#entries.set(textOf(entry.bytes), { ...entry, label });
  }

  #find(bytes: Uint8Array): Entry {
    const found = this.#entries.get(textOf(bytes));
    if (found === undefined) throw new RangeError("bytes that nobody has made");
    return found;
  }
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

const plain = ({ credentials, ...rest }: Bundle): unknown =>
  JSON.parse(JSON.stringify({ ...rest, credentials: credentials.map(credentialToWire) }));
