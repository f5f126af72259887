/** What the coordinator tells all agents at once, signed. */
import * as z from "zod";
import { text, utf8 } from "./encoding.ts";
import { EvergrantError } from "./errors.ts";
import type { SigningKey, VerifyKey } from "./keys.ts";
import { type JobId, nameSchema, sameJob } from "./names.ts";
import { readSigned, signDocument } from "./signed.ts";

export const noticeSchema = z.object({
  v: z.literal(1),
  tenant: nameSchema,
  job: nameSchema,
  term: z.int().min(1),
  /** Grows by one with each notice of a term. */
  sequence: z.int().min(1),
  timeMs: z.int().min(0),
  what: z.discriminatedUnion("kind", [
    /** A coordinator has taken over: everybody beat now. */
    z.object({ kind: z.literal("report") }),
    /** The group key has changed: register again to get it. */
    z.object({ kind: z.literal("rekey"), kid: z.string() }),
    /** The job has ended: serve what you hold until it expires, and wait for nothing more. */
    z.object({ kind: z.literal("goodbye") }),
  ]),
});
export type Notice = z.infer<typeof noticeSchema>;

export const sealNotice = async (notice: Notice, key: SigningKey): Promise<Uint8Array> =>
  utf8(await signDocument("evergrant-notice", notice, key));

/** @throws KEY_UNKNOWN, MESSAGE_FORGED, MESSAGE_MALFORMED, MESSAGE_FOR_OTHER_JOB */
export async function openNotice(
  bytes: Uint8Array,
  job: JobId,
  keys: readonly VerifyKey[],
): Promise<Notice> {
  const notice = await readSigned("evergrant-notice", noticeSchema, text(bytes), keys);
  if (!sameJob(notice, job)) {
    throw new EvergrantError("MESSAGE_FOR_OTHER_JOB", `notice of ${notice.tenant}/${notice.job}`);
  }
  return notice;
}
