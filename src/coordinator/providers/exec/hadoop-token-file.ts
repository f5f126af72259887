/**
 * Reads the Hadoop token storage file that a command has written (`hadoop dtutil`, `hdfs fetchdt`),
 * so that what has no REST interface comes through as well: HBase, Hive, Kafka, Ozone. Owns the step
 * from file to material; every kind of token passes through unread.
 */
import type { HadoopTokens } from "../../../protocol/credential.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { tokenToUrlString } from "../../../protocol/hadoop/token.ts";
import { readTokenStorage, type TokenStorage } from "../../../protocol/hadoop/token-storage.ts";
import type { EpochMs } from "../../../protocol/time.ts";

/** What a token file holds. */
export interface ReadTokenFile {
  readonly tokens: HadoopTokens;
  /**
   * Always undefined: a token's end is not in it (only its maximum is, which a token that nobody
   * renews never reaches), so `assumedLifetimeSec` must say it: the service's renew interval.
   */
  readonly expiresAt: EpochMs | undefined;
}

/** Reads the bytes of a token file. Throws ISSUER_ANSWER_UNUSABLE, and no value in its text. */
export type ParseTokenFile = (bytes: Uint8Array) => ReadTokenFile;

export const parseHadoopTokenFile: ParseTokenFile = (bytes) => {
  let storage: TokenStorage;
  try {
    storage = readTokenStorage(bytes);
  } catch (cause) {
    const message = "the command's token file is cut or of a form that is not known";
    throw new EvergrantError("ISSUER_ANSWER_UNUSABLE", message, { cause });
  }
  if (storage.tokens.size === 0 && storage.secrets.size === 0) {
    throw new EvergrantError("ISSUER_ANSWER_UNUSABLE", "the command's token file is empty");
  }
  const tokens = [...storage.tokens].map(([alias, token]) => ({
    alias,
    urlString: tokenToUrlString(token),
  }));
  const secrets = [...storage.secrets].map(([alias, secret]) => ({
    alias,
    valueBase64: Buffer.from(secret.reveal()).toString("base64"),
  }));
  return {
    tokens: { tokens, ...(secrets.length === 0 ? {} : { secrets }) },
    expiresAt: undefined,
  };
};
