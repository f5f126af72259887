/**
 * Who may sign: the configured base keys and every credential that was issued. Owns the secrets of
 * both, boxed; forgets the oldest issued ones beyond a bound. Knows no wire form.
 */
import { Secret } from "../../protocol/secret.ts";
import type { EpochMs, Random } from "../../protocol/time.ts";

/** Issued credentials that are remembered; older ones answer InvalidClientTokenId. */
const REMEMBERED = 20_000;
const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The identity behind a key. */
export interface Principal {
  readonly kind: "user" | "session" | "assumed-role";
  readonly arn: string;
  readonly userId: string;
  readonly account: string;
  /** The role's own ARN, for `assumed-role`. */
  readonly roleArn?: string;
  /** Tags that every role assumed from here on inherits. */
  readonly transitiveTags: ReadonlyMap<string, string>;
  /** Immutable once set, through any chain of roles. */
  readonly sourceIdentity?: string;
}

/** A key that may sign requests. */
export interface HeldKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret<string>;
  /** Absent for base keys. */
  readonly sessionToken?: Secret<string>;
  /** On the emulator's own, possibly skewed, clock. Absent for base keys. */
  readonly expiresAt?: EpochMs;
  readonly principal: Principal;
}

export class Keyring {
  readonly #base = new Map<string, HeldKey>();
  readonly #sessions = new Map<string, HeldKey>();
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  addBase(key: HeldKey): void {
    this.#base.set(key.accessKeyId, key);
  }

  find(accessKeyId: string): HeldKey | undefined {
    return this.#base.get(accessKeyId) ?? this.#sessions.get(accessKeyId);
  }

  /** Issues a session credential. `tokenBytes` is the size of the token before base64. */
  issue(principal: Principal, expiresAt: EpochMs, tokenBytes: number): SessionKey {
    const pair = randomKeyPair(this.#random, "ASIA");
    const token = Buffer.from(this.#random.bytes(Math.max(16, tokenBytes))).toString("base64");
    const key = { ...pair, sessionToken: new Secret(`IQoJb3JpZ2lu${token}`), expiresAt, principal };
    this.#sessions.set(key.accessKeyId, key);
    for (const oldest of this.#sessions.keys()) {
      if (this.#sessions.size <= REMEMBERED) break;
      this.#sessions.delete(oldest);
    }
    return key;
  }
}

/** A held key that was issued here, so that it has a token and an end. */
export type SessionKey = HeldKey & Required<Pick<HeldKey, "sessionToken" | "expiresAt">>;

/** An access key id with the given prefix (`AKIA` long-lived, `ASIA` temporary) and its secret. */
export function randomKeyPair(random: Random, prefix: "AKIA" | "ASIA") {
  return {
    accessKeyId: prefix + base32(random.bytes(16)),
    secretAccessKey: new Secret(Buffer.from(random.bytes(30)).toString("base64")),
  };
}

/** One base32 character for each byte: the alphabet of AWS ids. */
export function base32(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => BASE32[byte % 32] ?? "A").join("");
}
