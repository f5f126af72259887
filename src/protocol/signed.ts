/** Signed documents: a JSON body in a compact JWS (EdDSA) with a type, so that none passes for another. */
import { CompactSign, compactVerify } from "jose";
import type * as z from "zod";
import { parseJson, text, utf8 } from "./encoding.ts";
import { EvergrantError } from "./errors.ts";
import { importSigning, type SigningKey, type VerifyKey } from "./keys.ts";

/** The closed set of `typ` values. */
export type SignedType =
  | "evergrant-bundle"
  | "evergrant-join"
  | "evergrant-ticket"
  | "evergrant-register"
  | "evergrant-registered"
  | "evergrant-notice"
  | "evergrant-command"
  | "evergrant-answer";

/** What the job says to others. Its keys are rotated, so the reader may not know the newest yet. */
const BY_THE_JOB: ReadonlySet<SignedType> = new Set([
  "evergrant-bundle",
  "evergrant-registered",
  "evergrant-notice",
  "evergrant-answer",
]);

export async function signDocument(
  typ: SignedType,
  body: object,
  key: SigningKey,
): Promise<string> {
  return await new CompactSign(utf8(JSON.stringify(body)))
    .setProtectedHeader({ alg: "EdDSA", kid: key.kid, typ })
    .sign(await importSigning(key));
}

/** @throws KEY_UNKNOWN, MESSAGE_FORGED, MESSAGE_MALFORMED */
export async function readSigned<T>(
  typ: SignedType,
  schema: z.ZodType<T>,
  jws: string,
  keys: readonly VerifyKey[],
): Promise<T> {
  return parseJson(schema, text(await verifySigned(jws, typ, keys)), typ);
}

/**
 * The payload of a compact JWS that one of `keys` made with this `typ`.
 * @throws KEY_UNKNOWN for what the job says under the id of a key that is none of `keys`: it may be a
 * newer one, or anybody's. MESSAGE_FORGED for a wrong signature, type, algorithm or other key, or for no JWS at all.
 */
export async function verifySigned(
  jws: Uint8Array | string,
  typ: SignedType,
  keys: readonly VerifyKey[],
): Promise<Uint8Array> {
  try {
    const { payload, protectedHeader } = await compactVerify(
      jws,
      (header) => {
        const found = keys.find((candidate) => candidate.kid === header.kid);
        if (found === undefined) {
          const code = BY_THE_JOB.has(typ) ? "KEY_UNKNOWN" : "MESSAGE_FORGED";
          throw new EvergrantError(code, `a ${typ} signed with an unknown key`);
        }
        return importSigning(found);
      },
      { algorithms: ["EdDSA"] },
    );
    if (protectedHeader.typ !== typ) throw new Error("another type");
    return payload;
  } catch (cause) {
    if (cause instanceof EvergrantError) throw cause;
    throw new EvergrantError("MESSAGE_FORGED", `no valid ${typ} signature`, { cause });
  }
}
