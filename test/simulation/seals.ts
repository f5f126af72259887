/**
 * How the bundles of a world are sealed and opened, and the world's own book of what is under which
 * bytes. Here is the stand-in, which most seeds run with: bytes that say nothing and a table of what
 * is under them, judged at once. `JoseSeals` does it with the product's keys and ciphers.
 */
import type { BundleSealer } from "../../src/coordinator/ports/bundle-sealer.ts";
import type { Bundle } from "../../src/protocol/bundle.ts";
import { toBase64Url } from "../../src/protocol/encoding.ts";
import { type ErrorCode, EvergrantError } from "../../src/protocol/errors.ts";
import type { JobPublicKeys } from "../../src/protocol/keys.ts";
import { compareVersions, type Version } from "../../src/protocol/names.ts";
import { type Done, failure, success } from "../../src/protocol/outcome.ts";
import type { BundleOpener, OpenWith } from "../../src/worker-agent/ports/bundle-opener.ts";
import type { SimNode } from "./sim-node.ts";

/** An entry of the book. */
export interface Sealed {
  readonly bundle: Bundle;
  /** The group key that it was sealed under. */
  readonly kid: string;
  /** The holder that sealed it. */
  readonly by: string;
}

export interface Seals {
  /** For a coordinator's process that starts now, with the job key file as it is now. */
  coordinator(node: SimNode, holder: string): CoordinatorSeals;
  /** For an agent's process that starts now. */
  agent(node: SimNode): AgentSeals;
  /** @throws RangeError for bytes that no coordinator has sealed. */
  lookUp(sealed: Uint8Array): Sealed;
  /** Any of those that were ever sealed, for whoever plays them again. */
  any(unit: number): Uint8Array | undefined;
  /** What a trace calls these bytes: the same in each replay. */
  label(bytes: Uint8Array): string;
}

export interface CoordinatorSeals extends BundleSealer {
  readonly groupSet: string;
  readonly newGroupKid: string;
  /** The key that it signs with. */
  readonly signer: string;
  /** What its answers to registrations bring. */
  readonly jobKeys: JobPublicKeys | undefined;
  groupKeys(kids: readonly string[]): { readonly kid: string; readonly key: string }[];
  /** Whether it has the key that a register request was sealed to. */
  opens(registration: string): boolean;
  versionOf(sealed: Uint8Array): Version | undefined;
}

export interface AgentSeals extends BundleOpener {
  /** Reads the join file again; which key the next register request is sealed to. */
  readJoin(): string;
  /** An answer to a registration has brought the job's keys. */
  learn(keys: JobPublicKeys): void;
  /** Whether it knows the key that a notice is signed with. */
  trusts(signer: string): boolean;
}

/** What an agent is to make of a genuine bundle, whoever opens it; undefined: it opens. */
export function refusalOf({ bundle, kid }: Sealed, using: OpenWith): ErrorCode | undefined {
  if (bundle.expiresAt <= using.now) return "MESSAGE_EXPIRED";
  if (compareVersions(bundle, using.floor) < 0) return "MESSAGE_REPLAYED";
  return using.groups.some((group) => group.kid === kid) ? undefined : "KEY_UNKNOWN";
}

const KEY = toBase64Url(new Uint8Array(32));

export class TableSeals implements Seals {
  readonly #book: Sealed[] = [];

  coordinator(_node: SimNode, holder: string): CoordinatorSeals {
    return {
      groupSet: "set",
      newGroupKid: `set.${holder}`,
      signer: "",
      jobKeys: undefined,
      groupKeys: (kids) => kids.map((kid) => ({ kid, key: KEY })),
      opens: () => true,
      versionOf: (sealed) => {
        const { term, generation } = this.lookUp(sealed).bundle;
        return { term, generation };
      },
      seal: (bundle, kid, done) => {
        this.#book.push({ bundle, kid, by: holder });
        done(success(bytesOf(this.#book.length - 1)));
      },
    };
  }

  agent(_node: SimNode): AgentSeals {
    return {
      readJoin: () => "",
      learn: () => undefined,
      trusts: () => true,
      open: (sealed: Uint8Array, using: OpenWith, done: Done<Bundle>) => {
        const entry = this.lookUp(sealed);
        const code = refusalOf(entry, using);
        if (code === undefined) done(success(entry.bundle));
        else done(failure(new EvergrantError(code, "refused")));
      },
    };
  }

  lookUp(sealed: Uint8Array): Sealed {
    const found = this.#book[numberOf(sealed)];
    if (found === undefined) throw new RangeError("no such bundle");
    return found;
  }

  any(unit: number): Uint8Array | undefined {
    if (this.#book.length === 0) return undefined;
    return bytesOf(Math.floor(unit * this.#book.length));
  }

  label(bytes: Uint8Array): string {
    return `bundle ${numberOf(bytes)}`;
  }
}

function bytesOf(place: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, place);
  return bytes;
}

const numberOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
