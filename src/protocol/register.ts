/**
 * Registration: the one exchange in which an agent proves who it is and gets its keys. The request
 * is encrypted to the job's registration key and brings the one-time key that the reply is sealed
 * with, so each join costs one ECDH on each side and a join token is never readable on the wire.
 */
import {
  CompactEncrypt,
  type CryptoKey,
  compactDecrypt,
  decodeProtectedHeader,
  importJWK,
} from "jose";
import * as z from "zod";
import { fromBase64Url, key256Schema, parseJson, text, utf8 } from "./encoding.ts";
import { EvergrantError } from "./errors.ts";
import {
  type JobKeyFile,
  type JobKeySet,
  jobPublicKeysSchema,
  type RegistrationPublic,
  type SigningKey,
  type VerifyKey,
  verifyKeySchema,
} from "./keys.ts";
import { nameSchema } from "./names.ts";
import { readSigned, signDocument, verifySigned } from "./signed.ts";

const versionSchema = z.object({ term: z.int().min(0), generation: z.int().min(0) });

export const registerBodySchema = z.object({
  v: z.literal(1),
  tenant: nameSchema,
  job: nameSchema,
  agent: nameSchema,
  instance: nameSchema,
  /** Echoed by the reply, which proves that the reply is fresh. */
  nonce: key256Schema,
  /** The agent's own key. The request is signed with it. */
  key: verifyKeySchema,
  /** One-time AES key for the reply. */
  replyKey: key256Schema,
  /** At first: the join token. */
  token: z.string().optional(),
  /** Later on: the membership ticket. */
  ticket: z.string().optional(),
  receivers: z.array(z.object({ kind: z.string(), provider: z.string() })).max(1000),
  /** The highest that it has applied: a coordinator that knows less must raise its term above it. */
  highest: versionSchema,
});
export type RegisterBody = z.infer<typeof registerBodySchema>;

export const registeredBodySchema = z.object({
  v: z.literal(1),
  nonce: key256Schema,
  term: z.int().min(1),
  /** The agent takes nothing older than this, so an old stored bundle can't be played to it. */
  generation: z.int().min(0),
  /** The coordinator's clock. */
  timeMs: z.int().min(0),
  groupKeys: z.array(z.object({ kid: z.string(), key: key256Schema })).min(1),
  macKey: key256Schema,
  ticket: z.string(),
  /** The job's public keys as they are now. They take the place of those that the agent knew. */
  jobKeys: jobPublicKeysSchema.optional(),
  /** How often to beat, and when an unheard agent counts as lost. */
  beatMs: z.int().min(1),
});
export type RegisteredBody = z.infer<typeof registeredBodySchema>;

/** The reply on the wire. The bundle stands beside the sealed keys, not inside: it is sealed itself. */
export const registerReplySchema = z.union([
  z.object({ v: z.literal(1), sealed: z.string(), bundle: z.string().nullable() }),
  z.object({ v: z.literal(1), refused: z.string(), sealed: z.string() }),
]);

const refusedBodySchema = z.object({
  v: z.literal(1),
  nonce: key256Schema,
  refused: z.string(),
  timeMs: z.int().min(0),
});

const ENC = "A256GCM";

const imported = new WeakMap<object, Promise<CryptoKey>>();

/** The key object, imported once for each: agents join by the thousand. */
function importRegistration(key: RegistrationPublic): Promise<CryptoKey> {
  const known = imported.get(key);
  if (known !== undefined) return known;
  const fresh = importJWK(key.jwk, "ECDH-ES+A256KW") as Promise<CryptoKey>;
  imported.set(key, fresh);
  return fresh;
}

/** Agent: the request's bytes. */
export async function sealRegister(
  body: RegisterBody,
  own: SigningKey,
  registration: RegistrationPublic,
): Promise<Uint8Array> {
  const signed = await signDocument("evergrant-register", body, own);
  const jwe = await new CompactEncrypt(utf8(signed))
    .setProtectedHeader({ alg: "ECDH-ES+A256KW", enc: ENC, kid: registration.kid })
    .encrypt(await importRegistration(registration));
  return utf8(jwe);
}

/** A request, and the key set that it was sealed to: whoever knows its registration key knows its signing key. */
export interface OpenedRegister {
  readonly body: RegisterBody;
  readonly set: JobKeySet;
}

/**
 * Coordinator: opens a request and proves that its sender holds the key that it names.
 * Token and ticket are not judged here.
 * @throws KEY_UNKNOWN, MESSAGE_FORGED, MESSAGE_MALFORMED
 */
export async function openRegister(bytes: Uint8Array, file: JobKeyFile): Promise<OpenedRegister> {
  const jwe = text(bytes);
  let kid: string | undefined;
  try {
    kid = decodeProtectedHeader(jwe).kid;
  } catch {
    throw new EvergrantError("MESSAGE_MALFORMED", "the register request is no JWE");
  }
  const set = file.sets.find((candidate) => candidate.registration.kid === kid);
  if (set === undefined) {
    throw new EvergrantError("KEY_UNKNOWN", "the register request is for another registration key");
  }
  let signed: string;
  try {
    const opened = await compactDecrypt(jwe, await importRegistration(set.registration), {
      keyManagementAlgorithms: ["ECDH-ES+A256KW"],
      contentEncryptionAlgorithms: [ENC],
    });
    signed = text(opened.plaintext);
  } catch (cause) {
    throw new EvergrantError("MESSAGE_FORGED", "the register request does not open", { cause });
  }
  // The key is named inside the body that it signs: read it first, then verify with it.
  const payload = signed.split(".")[1] ?? "";
  const claimed = parseJson(registerBodySchema, text(fromBase64Url(payload)), "register request");
  await verifySigned(signed, "evergrant-register", [claimed.key]);
  return { body: claimed, set };
}

async function sealReply(body: object, nonceKey: string, signing: SigningKey): Promise<string> {
  const signed = await signDocument("evergrant-registered", body, signing);
  return await new CompactEncrypt(utf8(signed))
    .setProtectedHeader({ alg: "dir", enc: ENC })
    .encrypt(fromBase64Url(nonceKey));
}

/** Coordinator: the reply that lets an agent in. */
export async function sealRegistered(
  body: RegisteredBody,
  replyKey: string,
  bundle: Uint8Array | undefined,
  signing: SigningKey,
): Promise<Uint8Array> {
  const sealed = await sealReply(body, replyKey, signing);
  const reply = { v: 1, sealed, bundle: bundle === undefined ? null : text(bundle) };
  return utf8(JSON.stringify(reply));
}

/** Coordinator: the reply that refuses one. `code` is an ErrorCode; no more is said. */
export async function sealRefused(
  request: Pick<RegisterBody, "nonce" | "replyKey">,
  code: string,
  timeMs: number,
  signing: SigningKey,
): Promise<Uint8Array> {
  const body = { v: 1, nonce: request.nonce, refused: code, timeMs };
  const sealed = await sealReply(body, request.replyKey, signing);
  return utf8(JSON.stringify({ v: 1, refused: code, sealed }));
}

export type RegisterAnswer =
  | { readonly accepted: true; readonly body: RegisteredBody; readonly bundle?: Uint8Array }
  | { readonly accepted: false; readonly code: string; readonly timeMs: number };

/**
 * Agent: opens the reply to its own request.
 * @throws KEY_UNKNOWN, MESSAGE_FORGED, MESSAGE_MALFORMED, MESSAGE_REPLAYED (another request's nonce)
 */
export async function openRegisterReply(
  bytes: Uint8Array,
  request: Pick<RegisterBody, "nonce" | "replyKey">,
  keys: readonly VerifyKey[],
): Promise<RegisterAnswer> {
  const reply = parseJson(registerReplySchema, text(bytes), "register reply");
  let signed: string;
  try {
    const opened = await compactDecrypt(reply.sealed, fromBase64Url(request.replyKey), {
      keyManagementAlgorithms: ["dir"],
      contentEncryptionAlgorithms: [ENC],
    });
    signed = text(opened.plaintext);
  } catch (cause) {
    throw new EvergrantError("MESSAGE_FORGED", "the register reply does not open", { cause });
  }
  const bodySchema = z.union([registeredBodySchema, refusedBodySchema]);
  const body = await readSigned("evergrant-registered", bodySchema, signed, keys);
  if (body.nonce !== request.nonce) {
    throw new EvergrantError("MESSAGE_REPLAYED", "the register reply answers another request");
  }
  if ("refused" in body) return { accepted: false, code: body.refused, timeMs: body.timeMs };
  if (!("bundle" in reply) || reply.bundle === null) return { accepted: true, body };
  return { accepted: true, body, bundle: utf8(reply.bundle) };
}
