/** A register of values on a register of bytes. */
import { EvergrantError } from "../../../protocol/errors.ts";
import { failure, settle, success } from "../../../protocol/outcome.ts";
import type { CasRegister } from "../../ports/cas-register.ts";

export interface Codec<T> {
  encode(value: T): Uint8Array | Promise<Uint8Array>;
  /** Whatever it throws becomes STORE_UNREADABLE. */
  decode(bytes: Uint8Array): T | Promise<T>;
}

/** What does not decode is STORE_UNREADABLE: it is there, and nobody may write over it by mistake. */
export function codedRegister<T>(raw: CasRegister<Uint8Array>, codec: Codec<T>): CasRegister<T> {
  return {
    read(done) {
      raw.read((read) => {
        if (!read.ok) return done(read);
        const { entry, incarnation } = read.value;
        if (entry === undefined) return done(success({ entry, incarnation }));
        settle(
          async () => {
            const value = await decode(codec, entry.value);
            return { entry: { revision: entry.revision, value }, incarnation };
          },
          done,
          "STORE_UNREADABLE",
          "reading what is stored",
        );
      });
    },
    write(expected, value, done) {
      settle(
        async () => await codec.encode(value),
        (encoded) => {
          if (encoded.ok) raw.write(expected, encoded.value, done);
          else done(failure(encoded.error));
        },
        "INTERNAL",
        "encoding what is to be stored",
      );
    },
    remove: (done) => raw.remove(done),
  };
}

async function decode<T>(codec: Codec<T>, bytes: Uint8Array): Promise<T> {
  try {
    return await codec.decode(bytes);
  } catch (thrown) {
    // The codecs' own codes speak of messages; of a store there is but one way to be unreadable.
    const cause = EvergrantError.from(thrown, "STORE_UNREADABLE", "decoding");
    throw new EvergrantError("STORE_UNREADABLE", "the stored bytes can't be read", {
      cause,
      details: { code: cause.code },
    });
  }
}
