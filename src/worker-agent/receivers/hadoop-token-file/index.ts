/**
 * Receiver `hadoop-token-file`: keeps the file that `HADOOP_TOKEN_FILE_LOCATION` names. Owns the
 * entries of its provider in it and their removal at their own end (I2); entries that others put
 * there stay. Refuses to touch a file that it can't read. A JVM reads the file only once, at login:
 * what refreshes a running one is in docs/providers/hadoop.md.
 */
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HADOOP_TOKENS, hadoopTokensSchema } from "../../../protocol/credential.ts";
import { check } from "../../../protocol/encoding.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import {
  EMPTY_STORAGE,
  readTokenStorage,
  type TokenStorage,
  writeTokenStorage,
} from "../../../protocol/hadoop/token-storage.ts";
import { between, type CancelTimer, durationMs } from "../../../protocol/time.ts";
import { writeAtomically } from "../../../runtime/atomic-file.ts";
import type {
  ConsumerEnvironment,
  CredentialReceiver,
  CredentialReceiverFactory,
  ReceiverServices,
  Serving,
} from "../../ports/credential-receiver.ts";
import { groupId, userId } from "../file-mode.ts";
import { aliasesOf, alive, holds, merged, nextEnd, type OwnContent, ownContent } from "./merge.ts";
import { type HadoopTokenFileOptions, hadoopTokenFileOptions } from "./options.ts";
import { OwnEntries } from "./own-entries.ts";
import { inTurn } from "./path-turns.ts";

/** How often a write is repeated when another process has overwritten it at the same moment. */
const ATTEMPTS = 3;
/** How soon a removal that failed is tried again. */
const REMOVAL_RETRY = durationMs(5_000);
const NOTHING: OwnContent = { tokens: [], secrets: new Map() };

class HadoopTokenFile implements CredentialReceiver {
  readonly #options: HadoopTokenFileOptions;
  readonly #services: ReceiverServices;
  readonly #path: string;
  readonly #own: OwnEntries;
  #content: OwnContent = NOTHING;
  #removal: CancelTimer | undefined;
  #stopped = false;

  constructor(options: HadoopTokenFileOptions, services: ReceiverServices) {
    const home = services.stateDir ?? services.workDir;
    this.#options = options;
    this.#services = services;
    this.#path = options.path ?? join(home, `${services.provider}.hadoop-tokens`);
    const record =
      services.stateDir && join(services.stateDir, `${services.provider}.hadoop-tokens.json`);
    this.#own = new OwnEntries(record, this.#path, services.random);
  }

  async start(): Promise<ConsumerEnvironment> {
    try {
      for (const folder of [dirname(this.#path), this.#services.stateDir]) {
        if (folder !== undefined) await mkdir(folder, { recursive: true, mode: 0o700 });
      }
    } catch (cause) {
      throw new EvergrantError("RECEIVER_FAILED", `no folder for ${this.#path}`, { cause });
    }
    await this.#own.load();
    return { set: { HADOOP_TOKEN_FILE_LOCATION: this.#path }, unset: [] };
  }

  async apply({ credential, until }: Serving): Promise<void> {
    if (until <= this.#services.clock.now().mono) {
      throw new EvergrantError("RECEIVER_FAILED", "the credential has ended already");
    }
    let content: OwnContent;
    try {
      const material = check(hadoopTokensSchema, credential.material.reveal(), "hadoop-tokens");
      content = ownContent(material, { expiresAt: credential.expiresAt, until });
    } catch (cause) {
      throw new EvergrantError("RECEIVER_FAILED", "the credential holds no Hadoop tokens", {
        cause,
      });
    }
    await inTurn(this.#path, async () => {
      await this.#write(content);
      this.#content = content;
    });
    this.#armRemoval();
  }

  async withdraw(_provider: string): Promise<void> {
    this.#removal?.();
    await inTurn(this.#path, async () => {
      await this.#write(NOTHING);
      this.#content = NOTHING;
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#removal?.();
    this.#removal = undefined;
  }

  /** Writes what is alive of `content` in place of what was ours, and proves by reading that it is there. */
  async #write(content: OwnContent): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const own = alive(content, this.#services.clock.now().mono);
      const aliases = aliasesOf(own);
      const found = this.#options.merge ? await this.#read() : EMPTY_STORAGE;
      await this.#own.claim(aliases);
      await writeAtomically({
        path: this.#path,
        content: writeTokenStorage(merged(found, this.#own.known, own), this.#options.format),
        mode: this.#options.mode,
        uid: userId(this.#options.owner),
        gid: groupId(this.#options.group),
        random: this.#services.random,
      });
      if (holds(await this.#read(), own)) {
        await this.#own.set(aliases);
        return;
      }
      if (attempt === ATTEMPTS) {
        throw new EvergrantError(
          "RECEIVER_FAILED",
          `${this.#path} loses our tokens: something else keeps rewriting it`,
        );
      }
    }
  }

  async #read(): Promise<TokenStorage> {
    let file: Buffer;
    try {
      file = await readFile(this.#path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return EMPTY_STORAGE;
      throw new EvergrantError("RECEIVER_FAILED", `${this.#path} can't be read`, { cause });
    }
    try {
      return readTokenStorage(file);
    } catch (cause) {
      throw new EvergrantError(
        "RECEIVER_FAILED",
        `${this.#path} holds something that is no Hadoop token file; it is left as it is`,
        { cause },
      );
    }
  }

  /** Has the next token of ours removed from the file when it ends, though the others live on. */
  #armRemoval(): void {
    this.#removal?.();
    this.#removal = undefined;
    const { clock } = this.#services;
    const now = clock.now().mono;
    const end = this.#stopped ? undefined : nextEnd(this.#content, now);
    if (end !== undefined) {
      this.#removal = clock.timer(between(now, end), () => void this.#removeEnded(), true);
    }
  }

  async #removeEnded(): Promise<void> {
    try {
      await inTurn(this.#path, () => this.#write(this.#content));
      this.#armRemoval();
    } catch (error) {
      const { code } = EvergrantError.from(error, "RECEIVER_FAILED", "removing an ended token");
      this.#services.log("warn", "an ended token could not be removed", { code });
      if (this.#stopped) return;
      const again = (): void => void this.#removeEnded();
      this.#removal = this.#services.clock.timer(REMOVAL_RETRY, again, true);
    }
  }
}

export const hadoopTokenFile: CredentialReceiverFactory<HadoopTokenFileOptions> = {
  kind: "hadoop-token-file",
  serves: [HADOOP_TOKENS],
  byConvention: true,
  options: hadoopTokenFileOptions,
  create: (options, services) => new HadoopTokenFile(options, services),
};
