/**
 * Place of the reader of Hadoop's token storage files (`hadoop dtutil` writes them). It arrives with
 * the Hadoop provider; until then a configuration that asks for it is refused at start.
 */
import type { HadoopTokens } from "../../../protocol/credential.ts";
import type { EpochMs } from "../../../protocol/time.ts";

/** What a token file holds. */
export interface ReadTokenFile {
  readonly tokens: HadoopTokens;
  /** When the first of its tokens ends, as far as the identifiers tell. */
  readonly expiresAt: EpochMs | undefined;
}

/** Reads the bytes of a token file. Rejects with ISSUER_ANSWER_UNUSABLE, and no value in its text. */
export type ParseTokenFile = (bytes: Uint8Array) => ReadTokenFile;

/** Undefined: this build has no reader. */
export const parseHadoopTokenFile: ParseTokenFile | undefined = undefined;
