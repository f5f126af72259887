/**
 * The job's keys: what the job key file holds, what of it is public, and what is derived from it.
 * Whoever has the job key file *is* the job's coordinator; the join file holds only its public part.
 */
import { hkdfSync, webcrypto } from "node:crypto";
import { type CryptoKey, exportJWK, generateKeyPair, importJWK } from "jose";
import * as z from "zod";
import { fromBase64Url, key256Schema, toBase64Url, utf8 } from "./encoding.ts";
import { type AgentId, type JobId, nameSchema } from "./names.ts";
import { Secret } from "./secret.ts";
import type { EpochMs, Random } from "./time.ts";

const okp = <C extends "Ed25519" | "X25519">(crv: C) =>
  z.object({ kty: z.literal("OKP"), crv: z.literal(crv), x: key256Schema });
const privateOkp = <C extends "Ed25519" | "X25519">(crv: C) => okp(crv).extend({ d: key256Schema });

const kidSchema = z.string().min(1).max(64);

/** A public Ed25519 key. */
export const verifyKeySchema = z.object({ kid: kidSchema, jwk: okp("Ed25519") });
export type VerifyKey = z.infer<typeof verifyKeySchema>;

/** A private Ed25519 key. */
export const signingKeySchema = z.object({ kid: kidSchema, jwk: privateOkp("Ed25519") });
export type SigningKey = z.infer<typeof signingKeySchema>;

/** A public X25519 key, to which register requests are encrypted. */
export const registrationPublicSchema = z.object({ kid: kidSchema, jwk: okp("X25519") });
export type RegistrationPublic = z.infer<typeof registrationPublicSchema>;

const keySetSchema = z.object({
  createdAtMs: z.int().min(0),
  signing: signingKeySchema,
  registration: z.object({ kid: kidSchema, jwk: privateOkp("X25519") }),
  /** The ids of group keys begin with this one, so it is shorter than others and holds no full stop. */
  stateKey: z.object({ kid: z.string().regex(/^[A-Za-z0-9_-]{1,40}$/), key: key256Schema }),
  macRoot: key256Schema,
});
export type JobKeySet = z.infer<typeof keySetSchema>;

/** The job key file: the first set seals and signs, all of them open and verify. */
export const jobKeyFileSchema = z.object({
  version: z.literal(1),
  tenant: nameSchema,
  job: nameSchema,
  sets: z.array(keySetSchema).min(1).max(16),
});
export type JobKeyFile = z.infer<typeof jobKeyFileSchema>;

/** The public part, as the join file and the operator file carry it. */
export const jobPublicKeysSchema = z.object({
  signing: z.array(verifyKeySchema).min(1).max(16),
  registration: registrationPublicSchema,
});
export type JobPublicKeys = z.infer<typeof jobPublicKeysSchema>;

/** The symmetric key of one epoch of the group. */
export interface GroupKey {
  /**
   * That of its set's state key, a full stop, and something random, never a counter: two
   * coordinators can't name different keys alike.
   */
  readonly kid: string;
  readonly key: Uint8Array;
}

/** A new random set of job keys. */
export async function createJobKeySet(now: EpochMs, random: Random): Promise<JobKeySet> {
  const [signing, registration] = await Promise.all([
    generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true }),
    generateKeyPair("ECDH-ES", { crv: "X25519", extractable: true }),
  ]);
  const [signingJwk, registrationJwk] = await Promise.all([
    exportJWK(signing.privateKey),
    exportJWK(registration.privateKey),
  ]);
  return keySetSchema.parse({
    createdAtMs: now,
    signing: { kid: randomKid(random), jwk: signingJwk },
    registration: { kid: randomKid(random), jwk: registrationJwk },
    stateKey: { kid: randomKid(random), key: toBase64Url(random.bytes(32)) },
    macRoot: toBase64Url(random.bytes(32)),
  });
}

/** A new Ed25519 key pair for an agent or an operator. */
export async function createSigningKey(random: Random): Promise<SigningKey> {
  const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  return signingKeySchema.parse({ kid: randomKid(random), jwk: await exportJWK(privateKey) });
}

/** A name for a new group key of a set. */
export const newGroupKid = (set: JobKeySet, random: Random): string =>
  `${set.stateKey.kid}.${randomKid(random)}`;

export const randomKid = (random: Random): string => toBase64Url(random.bytes(12));

export const publicPart = (key: SigningKey): VerifyKey => ({
  kid: key.kid,
  jwk: { kty: key.jwk.kty, crv: key.jwk.crv, x: key.jwk.x },
});

/** What others may know of a job key file. */
export function publicKeysOf(file: JobKeyFile): JobPublicKeys {
  const first = currentSet(file);
  const { kty, crv, x } = first.registration.jwk;
  return {
    signing: file.sets.map((set) => publicPart(set.signing)),
    registration: { kid: first.registration.kid, jwk: { kty, crv, x } },
  };
}

/** The set that seals and signs. */
export function currentSet(file: JobKeyFile): JobKeySet {
  const [first] = file.sets;
  if (first === undefined) throw new RangeError("a job key file has at least one set");
  return first;
}

const imported = new WeakMap<object, Promise<CryptoKey>>();

/** The key object of a JWK, imported once for each object: bundles are verified by the thousand. */
export function importSigning(key: SigningKey | VerifyKey): Promise<CryptoKey> {
  const known = imported.get(key);
  if (known !== undefined) return known;
  const fresh = importJWK(key.jwk, "EdDSA") as Promise<CryptoKey>;
  imported.set(key, fresh);
  return fresh;
}

function derive(root: string, job: JobId, ...label: readonly string[]): Uint8Array {
  // Names hold no NUL, so the joined label is unambiguous.
  const info = utf8(["evergrant", "v1", job.tenant, job.job, ...label].join("\0"));
  return new Uint8Array(hkdfSync("sha256", fromBase64Url(root), new Uint8Array(0), info, 32));
}

/** The group key of `kid`. Derived, so that whoever has the job key file can open what was sealed. */
export function groupKeyOf(set: JobKeySet, job: JobId, kid: string): GroupKey {
  return { kid, key: derive(set.stateKey.key, job, "group", kid) };
}

/** The group key of `kid` by whichever set it is of; undefined when that set is gone. */
export function groupKeyIn(file: JobKeyFile, kid: string): GroupKey | undefined {
  const set = file.sets.find(({ stateKey }) => kid.startsWith(`${stateKey.kid}.`));
  return set === undefined ? undefined : groupKeyOf(set, file, kid);
}

/** The key under which an agent's acks, beats and demands are authenticated. */
export function agentMacKey(macRoot: string, job: JobId, { agent, instance }: AgentId): Uint8Array {
  return derive(macRoot, job, "mac", agent, instance);
}

const opened = new WeakMap<Uint8Array, Promise<CryptoKey>>();

/** A group key as jose opens and seals with it, imported once for each array. */
export function importGroup({ key }: GroupKey): Promise<CryptoKey> {
  const known = opened.get(key);
  if (known !== undefined) return known;
  const fresh = webcrypto.subtle.importKey("raw", Uint8Array.from(key), "AES-GCM", false, [
    "encrypt",
    "decrypt",
  ]);
  opened.set(key, fresh);
  return fresh;
}

/** The job's keys as the coordinator carries them around: boxed. */
export type JobKeys = Secret<JobKeyFile>;
export const boxed = (file: JobKeyFile): JobKeys => new Secret(file);
