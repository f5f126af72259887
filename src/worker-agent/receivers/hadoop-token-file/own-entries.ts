/**
 * Which entries of the token file are ours, remembered across restarts, so that a successor removes
 * what it no longer serves and leaves what others have put there. Holds aliases only, no secret.
 */
import { readFile } from "node:fs/promises";
import * as z from "zod";
import { parseJson, utf8 } from "../../../protocol/encoding.ts";
import type { Random } from "../../../protocol/time.ts";
import { writeAtomically } from "../../../runtime/atomic-file.ts";

const recordSchema = z.object({
  path: z.string(),
  tokens: z.array(z.string()),
  secrets: z.array(z.string()),
});

export interface OwnAliases {
  readonly tokens: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
}

export class OwnEntries {
  readonly #record: string | undefined;
  readonly #tokenFile: string;
  readonly #random: Random;
  #known: OwnAliases = { tokens: new Set(), secrets: new Set() };

  /** @param record where the aliases are kept; undefined: in memory only. */
  constructor(record: string | undefined, tokenFile: string, random: Random) {
    this.#record = record;
    this.#tokenFile = tokenFile;
    this.#random = random;
  }

  get known(): OwnAliases {
    return this.#known;
  }

  /** Reads what an earlier process noted. A record that is missing, broken or for another file counts as none. */
  async load(): Promise<void> {
    if (this.#record === undefined) return;
    try {
      const record = parseJson(recordSchema, await readFile(this.#record, "utf8"), "record");
      if (record.path !== this.#tokenFile) return;
      this.#known = { tokens: new Set(record.tokens), secrets: new Set(record.secrets) };
    } catch {
      // Without it foreign and own entries can't be told apart: nothing is removed, which is safe.
    }
  }

  /** Notes further aliases as ours. Called before they are written, so that a crash in between loses none. */
  async claim(more: OwnAliases): Promise<void> {
    const tokens = new Set([...this.#known.tokens, ...more.tokens]);
    const secrets = new Set([...this.#known.secrets, ...more.secrets]);
    if (tokens.size === this.#known.tokens.size && secrets.size === this.#known.secrets.size) {
      return;
    }
    await this.set({ tokens, secrets });
  }

  /** Notes exactly these. @throws RECEIVER_FAILED */
  async set(aliases: OwnAliases): Promise<void> {
    this.#known = aliases;
    if (this.#record === undefined) return;
    const record = {
      path: this.#tokenFile,
      tokens: [...aliases.tokens],
      secrets: [...aliases.secrets],
    };
    await writeAtomically({
      path: this.#record,
      content: utf8(JSON.stringify(record)),
      mode: 0o600,
      random: this.#random,
    });
  }
}
