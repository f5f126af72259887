/**
 * The private key that signs assertions: PKCS#8 or JWK, in one file that may be replaced at any time.
 * Owns its algorithm, its id, and the public half that is uploaded to the pool. Knows no claims.
 */
import { createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import { calculateJwkThumbprint, exportJWK, type JWK } from "jose";
import { EvergrantError } from "../../../protocol/errors.ts";

export type SigningAlgorithm = "RS256" | "ES256" | "EdDSA";

export interface SigningKey {
  readonly key: KeyObject;
  readonly algorithm: SigningAlgorithm;
  readonly keyId: string;
  /** With `alg`, `kid` and `use`, as a pool's provider wants it in its key set. */
  readonly publicJwk: JWK;
}

export interface SigningKeyOptions {
  readonly keyFile: string;
  readonly algorithm?: SigningAlgorithm | undefined;
  readonly keyId?: string | undefined;
}

/** Google refuses shorter RSA keys. */
const SHORTEST_RSA_BITS = 2048;

/** @throws EvergrantError PROVIDER_INPUT_MISSING where there is no such key, ISSUER_TIMEOUT at the signal. */
export async function readSigningKey(
  options: SigningKeyOptions,
  signal?: AbortSignal,
): Promise<SigningKey> {
  const text = await readText(options.keyFile, signal);
  const { key, own } = parseKey(text, options.keyFile);
  const algorithm = algorithmOf(key);
  if (algorithm === undefined) {
    throw unusable(options.keyFile, "is neither RSA of 2048 bits or more, nor P-256, nor Ed25519");
  }
  const stated = options.algorithm ?? own.alg ?? algorithm;
  if (stated !== algorithm && !(stated === "Ed25519" && algorithm === "EdDSA")) {
    throw unusable(options.keyFile, `is a key for ${algorithm}, and the one stated is ${stated}`);
  }
  const jwk = await exportJWK(createPublicKey(key));
  const keyId = options.keyId ?? own.kid ?? (await calculateJwkThumbprint(jwk));
  const publicJwk = { ...jwk, kid: keyId, alg: algorithm, use: "sig" };
  return { key, algorithm, keyId, publicJwk };
}

async function readText(path: string, signal: AbortSignal | undefined): Promise<string> {
  try {
    return await readFile(path, { encoding: "utf8", ...(signal === undefined ? {} : { signal }) });
  } catch (thrown) {
    if (signal?.aborted === true) {
      throw new EvergrantError("ISSUER_TIMEOUT", "the signing key could not be read in time");
    }
    const { code = "unknown" } = thrown as NodeJS.ErrnoException;
    const message = `the signing key ${path} cannot be read (${code})`;
    throw new EvergrantError("PROVIDER_INPUT_MISSING", message, {
      details: { path, reason: code },
    });
  }
}

interface OwnFacts {
  readonly kid?: string;
  readonly alg?: string;
}

/** A foreign error is no cause here: it might quote the key. */
function parseKey(text: string, path: string): { readonly key: KeyObject; readonly own: OwnFacts } {
  try {
    if (!text.trimStart().startsWith("{")) return { key: createPrivateKey(text), own: {} };
    const jwk = JSON.parse(text) as JsonWebKey & Readonly<Record<string, unknown>>;
    const { kid, alg } = jwk;
    return {
      key: createPrivateKey({ key: jwk, format: "jwk" }),
      own: {
        ...(typeof kid === "string" ? { kid } : {}),
        ...(typeof alg === "string" ? { alg } : {}),
      },
    };
  } catch {
    throw unusable(path, "holds no private key as PKCS#8 (PEM) or JWK");
  }
}

function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject) {
  if (asymmetricKeyType === "rsa") {
    const bits = asymmetricKeyDetails?.modulusLength ?? 0;
    return bits >= SHORTEST_RSA_BITS ? "RS256" : undefined;
  }
  if (asymmetricKeyType === "ec") {
    return asymmetricKeyDetails?.namedCurve === "prime256v1" ? "ES256" : undefined;
  }
  return asymmetricKeyType === "ed25519" ? "EdDSA" : undefined;
}

const unusable = (path: string, what: string): EvergrantError =>
  new EvergrantError("PROVIDER_INPUT_MISSING", `the signing key ${path} ${what}`, {
    details: { path },
  });
