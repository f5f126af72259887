/**
 * The bundle: all current credentials of a job, the unit of broadcast. Its form and its sealing
 * (docs/protocol.md, "Bundle"): a JWS (EdDSA, the job's signing key) over a JWE (`dir`, A256GCM,
 * the group key named by `kid`). The group key hides it from the broker; the signature is what
 * proves its sender, since every agent holds the group key.
 */
import { CompactEncrypt, CompactSign, compactDecrypt } from "jose";
import * as z from "zod";
import {
  type Credential,
  credentialFromWire,
  credentialToWire,
  credentialWireSchema,
} from "./credential.ts";
import { check, parseJson, text, utf8 } from "./encoding.ts";
import { EvergrantError } from "./errors.ts";
import {
  type GroupKey,
  importGroup,
  importSigning,
  type SigningKey,
  type VerifyKey,
} from "./keys.ts";
import { type JobId, nameSchema, sameJob } from "./names.ts";
import { verifySigned } from "./signed.ts";
import { type EpochMs, epochMs } from "./time.ts";

/** The largest sealed bundle that anyone sends or opens, in bytes. */
export const MAX_SEALED_BYTES = 512 * 1024;

const TYPE = "evergrant-bundle";

/** The provider's credential is to be dropped, although it has not expired. */
export interface Tombstone {
  readonly provider: string;
  /** Credentials of this generation and older are dropped. */
  readonly generation: number;
}

export interface Bundle extends JobId {
  readonly term: number;
  readonly generation: number;
  /** The coordinator's clock when it sealed this. */
  readonly sealedAt: EpochMs;
  /** That of the longest-lived credential; `sealedAt` plus a day when there is none. */
  readonly expiresAt: EpochMs;
  readonly credentials: readonly Credential[];
  readonly tombstones: readonly Tombstone[];
}

/** The readable part of a sealed bundle. Everything in it is authenticated. */
export const bundleHeaderSchema = z.object({
  tenant: nameSchema,
  job: nameSchema,
  term: z.int().min(1),
  generation: z.int().min(0),
  sealedAtMs: z.int().min(0),
  expiresAtMs: z.int().min(0),
  kid: z.string().min(1).max(64),
  v: z.literal(1),
  typ: z.literal(TYPE),
});
export type BundleHeader = z.infer<typeof bundleHeaderSchema>;

const bodySchema = z.object({
  credentials: z.array(credentialWireSchema).max(1000),
  tombstones: z.array(z.object({ provider: nameSchema, generation: z.int().min(0) })).max(1000),
});

/** Seals a bundle. @throws MESSAGE_TOO_LARGE above MAX_SEALED_BYTES. */
export async function sealBundle(
  bundle: Bundle,
  group: GroupKey,
  signing: SigningKey,
): Promise<Uint8Array> {
  const body = {
    credentials: bundle.credentials.map(credentialToWire),
    tombstones: bundle.tombstones,
  };
  const header = {
    alg: "dir",
    enc: "A256GCM",
    typ: TYPE,
    v: 1,
    kid: group.kid,
    tenant: bundle.tenant,
    job: bundle.job,
    term: bundle.term,
    generation: bundle.generation,
    sealedAtMs: bundle.sealedAt,
    expiresAtMs: bundle.expiresAt,
  };
  const jwe = await new CompactEncrypt(utf8(JSON.stringify(body)))
    .setProtectedHeader(header)
    .encrypt(await importGroup(group));
  const jws = await new CompactSign(utf8(jwe))
    .setProtectedHeader({ alg: "EdDSA", kid: signing.kid, typ: TYPE })
    .sign(await importSigning(signing));
  const sealed = utf8(jws);
  if (sealed.length > MAX_SEALED_BYTES) {
    throw new EvergrantError(
      "MESSAGE_TOO_LARGE",
      `the sealed bundle has ${sealed.length} bytes, more than ${MAX_SEALED_BYTES}`,
    );
  }
  return sealed;
}

/** A bundle whose signature holds and whose header is known, but which is not decrypted yet. */
export interface VerifiedBundle {
  readonly header: BundleHeader;
  readonly jwe: string;
}

/**
 * Checks size, signature, form, job and expiry, in this order.
 * @param now the receiver's best knowledge of the coordinator's clock.
 * @throws MESSAGE_TOO_LARGE, KEY_UNKNOWN, MESSAGE_FORGED, MESSAGE_MALFORMED, MESSAGE_FOR_OTHER_JOB, MESSAGE_EXPIRED
 */
export async function verifyBundle(
  sealed: Uint8Array,
  id: JobId,
  keys: readonly VerifyKey[],
  now: EpochMs,
): Promise<VerifiedBundle> {
  if (sealed.length > MAX_SEALED_BYTES) {
    throw new EvergrantError("MESSAGE_TOO_LARGE", `a bundle of ${sealed.length} bytes`);
  }
  const jwe = text(await verifySigned(sealed, TYPE, keys));
  const header = check(bundleHeaderSchema, protectedHeaderOf(jwe), "bundle header");
  if (!sameJob(header, id)) {
    throw new EvergrantError("MESSAGE_FOR_OTHER_JOB", `bundle of ${header.tenant}/${header.job}`);
  }
  if (header.expiresAtMs <= now) {
    throw new EvergrantError("MESSAGE_EXPIRED", "the bundle's expiry has passed", {
      details: { expiresAtMs: header.expiresAtMs, nowMs: now },
    });
  }
  return { header, jwe };
}

/** Decrypts a verified bundle. @throws KEY_UNKNOWN, MESSAGE_FORGED, MESSAGE_MALFORMED */
export async function openBundle(
  { header, jwe }: VerifiedBundle,
  groups: readonly GroupKey[],
): Promise<Bundle> {
  const group = groups.find((candidate) => candidate.kid === header.kid);
  if (group === undefined) {
    throw new EvergrantError("KEY_UNKNOWN", `no group key ${header.kid}`);
  }
  let plaintext: Uint8Array;
  try {
    const opened = await compactDecrypt(jwe, await importGroup(group), {
      keyManagementAlgorithms: ["dir"],
      contentEncryptionAlgorithms: ["A256GCM"],
    });
    plaintext = opened.plaintext;
  } catch (cause) {
    throw new EvergrantError("MESSAGE_FORGED", "the bundle does not open", { cause });
  }
  const body = parseJson(bodySchema, text(plaintext), "bundle");
  return {
    tenant: header.tenant,
    job: header.job,
    term: header.term,
    generation: header.generation,
    sealedAt: epochMs(header.sealedAtMs),
    expiresAt: epochMs(header.expiresAtMs),
    credentials: body.credentials.map(credentialFromWire),
    tombstones: body.tombstones,
  };
}

function protectedHeaderOf(jwe: string): unknown {
  try {
    return JSON.parse(Buffer.from(jwe.slice(0, jwe.indexOf(".")), "base64url").toString("utf8"));
  } catch {
    throw new EvergrantError("MESSAGE_MALFORMED", "the bundle's header is not JSON");
  }
}
