/**
 * The lease as it stands in its bucket: readable JSON, since nothing in it is secret. Bytes that are
 * no lease are somebody's all the same: whose, nobody can tell.
 */
import * as z from "zod";
import { parseJson, text, utf8 } from "../../../protocol/encoding.ts";
import type { LeaseRecord } from "../../core/lease-record.ts";
import type { Codec } from "./coded-register.ts";

const leaseSchema = z.object({
  v: z.literal(1),
  holder: z.string().min(1).max(128),
  term: z.int().min(0),
  renewals: z.int().min(0),
  state: z.enum(["held", "released", "ended"]),
});

/** Waited out like any other holder, and then taken by compare-and-set: it can't end leadership for ever. */
const OF_NOBODY_KNOWN: LeaseRecord = { holder: "", term: 0, renewals: 0, state: "held" };

export const leaseCodec: Codec<LeaseRecord> = {
  encode: (lease) => utf8(JSON.stringify({ v: 1, ...lease })),
  decode(bytes) {
    try {
      const { v: _, ...lease } = parseJson(leaseSchema, text(bytes), "lease");
      return lease;
    } catch {
      return OF_NOBODY_KNOWN;
    }
  },
};
