/**
 * A credential as the JSON document that files and commands get. Owns its names, which are a
 * contract with whoever reads them (docs/receivers/file.md). It holds the secret: callers hand it to
 * their consumer and to nobody else.
 */
import type { Credential } from "../../protocol/credential.ts";
import { toRfc3339 } from "../../protocol/time.ts";

export interface CredentialDocument {
  readonly provider: string;
  readonly kind: string;
  readonly generation: number;
  /** RFC 3339 in UTC, by the issuer's clock. */
  readonly issuedAt: string;
  readonly expiresAt: string;
  /** The same instant in seconds since 1970, rounded down. */
  readonly expiresAtSec: number;
  readonly attributes: Readonly<Record<string, string>>;
  readonly material: Readonly<Record<string, unknown>>;
}

export function credentialDocument(credential: Credential): CredentialDocument {
  return {
    provider: credential.provider,
    kind: credential.kind,
    generation: credential.generation,
    issuedAt: toRfc3339(credential.issuedAt),
    expiresAt: toRfc3339(credential.expiresAt),
    expiresAtSec: Math.floor(credential.expiresAt / 1000),
    attributes: credential.attributes,
    material: credential.material.reveal(),
  };
}
