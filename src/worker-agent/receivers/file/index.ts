/**
 * Receiver `file`: writes each credential to a file, as JSON or by a template. Owns when the file is
 * written and removed; how it is replaced whole is runtime/atomic-file.ts. A file cannot end by itself: if
 * the agent is gone, nobody removes it at its expiry (docs/receivers/file.md).
 */
import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { EvergrantError } from "../../../protocol/errors.ts";
import {
  type AtomicFiles,
  removeDurably,
  removeLeftOvers,
  writeAtomically,
} from "../../../runtime/atomic-file.ts";
import type {
  ConsumerEnvironment,
  CredentialReceiver,
  CredentialReceiverFactory,
  ReceiverServices,
  Serving,
} from "../../ports/credential-receiver.ts";
import { credentialDocument } from "../credential-document.ts";
import { groupId, userId } from "../file-mode.ts";
import { Turns } from "../turns.ts";
import { type FileOptions, fileOptions } from "./options.ts";
import { fillTemplate, parseTemplate, type Template } from "./template.ts";

export class FileReceiver implements CredentialReceiver {
  readonly #options: FileOptions;
  readonly #services: ReceiverServices;
  readonly #files: AtomicFiles | undefined;
  readonly #turns = new Turns();
  #template: Template | undefined;
  #owner = { uid: -1, gid: -1 };

  /** `files`: where disk faults come from in tests. */
  constructor(options: FileOptions, services: ReceiverServices, files?: AtomicFiles) {
    this.#options = options;
    this.#services = services;
    this.#files = files;
  }

  async start(): Promise<ConsumerEnvironment> {
    const { path, owner, group } = this.#options;
    this.#template = await this.#readTemplate();
    this.#owner = { uid: userId(owner), gid: groupId(group) };
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await removeLeftOvers(path);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? "unknown";
      throw new EvergrantError(
        "RECEIVER_FAILED",
        `the folder ${dirname(path)} cannot be used (${code})`,
        { cause: error, details: { path, systemCode: code } },
      );
    }
    return { set: {}, unset: [] };
  }

  apply(serving: Serving): Promise<void> {
    return this.#turns.take(async ({ superseded }) => {
      if (this.#services.clock.now().mono >= serving.until) {
        throw new EvergrantError(
          "RECEIVER_FAILED",
          "the credential has ended before it was written",
        );
      }
      const { path, mode } = this.#options;
      const { random } = this.#services;
      return await writeAtomically({
        path,
        mode,
        ...this.#owner,
        content: this.#content(serving),
        superseded,
        random,
        ...(this.#files === undefined ? {} : { files: this.#files }),
      });
    });
  }

  withdraw(): Promise<void> {
    return this.#turns.take(async () => {
      if (!this.#options.keepExpired) await removeDurably(this.#options.path);
      return true;
    });
  }

  /** Waits for a write that is under way. The file stays: consumers may go on with it. */
  stop(): Promise<void> {
    return this.#turns.idle();
  }

  #content(serving: Serving): Buffer {
    const document = credentialDocument(serving.credential);
    if (this.#template === undefined) return Buffer.from(`${JSON.stringify(document, null, 2)}\n`);
    return Buffer.from(fillTemplate(this.#template, document));
  }

  async #readTemplate(): Promise<Template | undefined> {
    const { template, templateFile } = this.#options;
    if (template !== undefined) return parseTemplate(template);
    if (templateFile === undefined) return undefined;
    try {
      return parseTemplate(await readFile(templateFile, "utf8"));
    } catch (error) {
      if (error instanceof EvergrantError) throw error;
      const code = (error as NodeJS.ErrnoException).code ?? "unknown";
      throw new EvergrantError("RECEIVER_FAILED", `${templateFile} cannot be read (${code})`);
    }
  }
}

export const fileFactory: CredentialReceiverFactory<FileOptions> = {
  kind: "file",
  serves: ["*"],
  byConvention: false,
  options: fileOptions,
  create: (options, services) => new FileReceiver(options, services),
};
