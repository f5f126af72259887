/** The access tokens that are alive: opaque texts, and what each one may do. Knows no protocol. */
import type { EpochMs, Random } from "../../protocol/time.ts";
import type { BoundaryRule } from "./boundary.ts";

export interface TokenGrant {
  readonly kind: "federated" | "service-account" | "downscoped";
  /** A service account's e-mail, or `principal://…` of a federated identity. */
  readonly principal: string;
  readonly scopes: readonly string[];
  readonly expiresAt: EpochMs;
  /** Undefined: no boundary. */
  readonly boundary: readonly BoundaryRule[] | undefined;
}

/** One issued token without itself. Instants are of the emulator's own, skewed clock. */
export interface IssuedToken
  extends Pick<TokenGrant, "kind" | "principal" | "scopes" | "expiresAt"> {
  readonly issuedAt: EpochMs;
  /** `jti` of the assertion, for federated ones. */
  readonly assertionId?: string;
}

export class Tokens {
  readonly #random: Random;
  readonly #grants = new Map<string, TokenGrant>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** The text of a new token. Those that have ended are forgotten meanwhile. */
  issue(grant: TokenGrant, now: EpochMs): string {
    for (const [text, { expiresAt }] of this.#grants) {
      if (expiresAt <= now) this.#grants.delete(text);
    }
    const text = `ya29.${Buffer.from(this.#random.bytes(96)).toString("base64url")}`;
    this.#grants.set(text, grant);
    return text;
  }

  /** What a token may do; undefined for one that is unknown or has ended. */
  find(text: string, now: EpochMs): TokenGrant | undefined {
    const grant = this.#grants.get(text);
    return grant !== undefined && grant.expiresAt > now ? grant : undefined;
  }
}
