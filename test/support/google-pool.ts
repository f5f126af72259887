/** A workload identity pool for tests: a signing key in a file, and the emulator that trusts its public half. */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { JSONWebKeySet } from "jose";
import { readSigningKey } from "../../src/coordinator/providers/google-wif/signing-key.ts";
import type { PoolProvider } from "../../src/emulators/google/assertion.ts";
import {
  type GoogleEmulator,
  type GoogleEmulatorOptions,
  startGoogleEmulator,
} from "../../src/emulators/google/server.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";

export const POOL =
  "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/on-premises/providers/evergrant";
export const ISSUER = "https://evergrant.example.test";
export const SUBJECT = "evergrant:etl";
export const PRINCIPAL = `principal:${POOL.replace(/\/providers\/.*$/, "")}/subject/${SUBJECT}`;
export const ACCOUNT = "lake-reader@acme-data.iam.gserviceaccount.com";

export type KeyKind = "rsa" | "ec" | "ed25519";

export interface GooglePool {
  readonly google: GoogleEmulator;
  /** What the emulator trusts; its fields may be assigned. */
  readonly provider: { -readonly [K in keyof PoolProvider]: PoolProvider[K] };
  readonly keyFile: string;
  /** Texts that nobody but the coordinator may hold: the private keys so far. */
  readonly secrets: readonly string[];
  /** A new private key in the file; with `publish`, the pool trusts it, and the old one no more. */
  replaceKey(publish: boolean, kind?: KeyKind): Promise<void>;
  /** Options of `google-wif`, less `kind` and `name`. */
  options(more?: Readonly<Record<string, unknown>>): Record<string, unknown>;
}

export async function startGooglePool(
  dir: string,
  more: Partial<GoogleEmulatorOptions> = {},
): Promise<GooglePool> {
  const keyFile = join(dir, "signing-key.pem");
  const provider = { name: POOL, issuer: ISSUER, jwks: { keys: [] } as JSONWebKeySet };
  const secrets: string[] = [];
  const replaceKey = async (publish: boolean, kind: KeyKind = "ec"): Promise<void> => {
    const key = newKey(kind);
    const text = key.export({ type: "pkcs8", format: "pem" }).toString();
    secrets.push(...text.split("\n").filter((line) => line.length > 30 && !line.startsWith("-")));
    await writeFile(`${keyFile}.new`, text, { mode: 0o600 });
    await rename(`${keyFile}.new`, keyFile);
    if (publish) provider.jwks = { keys: [(await readSigningKey({ keyFile })).publicJwk] };
  };
  await replaceKey(true);
  const google = await startGoogleEmulator({
    clock: systemClock,
    random: systemRandom,
    poolProviders: [provider],
    ...more,
  });
  return {
    ...{ google, provider, keyFile, secrets, replaceKey },
    options: (given = {}) => ({
      audience: POOL,
      subjectToken: { jwt: { keyFile, issuer: ISSUER, subject: SUBJECT } },
      serviceAccount: { email: ACCOUNT },
      endpoints: { sts: google.url, iamCredentials: google.url },
      ...given,
    }),
  };
}

function newKey(kind: KeyKind): KeyObject {
  if (kind === "rsa") return generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  if (kind === "ed25519") return generateKeyPairSync("ed25519").privateKey;
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}
