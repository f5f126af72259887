/**
 * The job's state, sealed under the state key of the job key file: a JWE (`dir`, A256GCM). The first
 * key set seals, all of them open. Owns the envelope; the record in it is state-schema.ts's (I9).
 */
import { CompactEncrypt, compactDecrypt } from "jose";
import { fromBase64Url, parseJson, text, utf8 } from "../../../protocol/encoding.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { currentSet, type JobKeys } from "../../../protocol/keys.ts";
import type { JobState } from "../../core/job-state.ts";
import type { Codec } from "./coded-register.ts";
import { stateFromWire, stateSchema, stateToWire } from "./state-schema.ts";

const TYPE = "evergrant-state";

export function stateCodec(keys: JobKeys): Codec<JobState> {
  return {
    async encode(state) {
      const file = keys.reveal();
      const { kid, key } = currentSet(file).stateKey;
      const { tenant, job } = file;
      const jwe = await new CompactEncrypt(utf8(JSON.stringify(stateToWire(state))))
        .setProtectedHeader({ alg: "dir", enc: "A256GCM", typ: TYPE, v: 1, kid, tenant, job })
        .encrypt(fromBase64Url(key));
      return utf8(jwe);
    },
    async decode(bytes) {
      const file = keys.reveal();
      const { plaintext, protectedHeader: header } = await compactDecrypt(
        bytes,
        ({ kid }) => {
          const set = file.sets.find((candidate) => candidate.stateKey.kid === kid);
          if (set === undefined) throw new EvergrantError("KEY_UNKNOWN", "another state key");
          return fromBase64Url(set.stateKey.key);
        },
        { keyManagementAlgorithms: ["dir"], contentEncryptionAlgorithms: ["A256GCM"] },
      );
      // One key file is one job's, but a copied file or value must not pass for another's.
      const { tenant, job } = file;
      if (header.typ !== TYPE || header["tenant"] !== tenant || header["job"] !== job) {
        throw new EvergrantError("MESSAGE_FOR_OTHER_JOB", "the state of another job");
      }
      return stateFromWire(parseJson(stateSchema, text(plaintext), "state"));
    },
  };
}
