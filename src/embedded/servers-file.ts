/**
 * `servers.json` in the run folder: where the embedded servers are and how to log in to them.
 * Owns its shape and that it is written whole or not at all, readable by its owner only.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { EvergrantError } from "../protocol/errors.ts";

const port = z.number().int().min(1).max(65_535);
const pid = z.number().int().positive();

const serversFile = z.object({
  version: z.literal(1),
  nats: z.object({
    url: z.string(),
    port,
    pid: pid.optional(),
    /** In the server's INFO line; random, so it proves that the answer comes from our server. */
    serverName: z.string(),
    /** Password by user name. */
    users: z.record(z.string(), z.string()),
  }),
  redis: z.object({ url: z.string(), port, pid: pid.optional(), password: z.string() }),
});

/** The content of `servers.json`. Holds secrets: never log it. */
export type ServersFile = z.infer<typeof serversFile>;

/** What the last run left in the folder; undefined when there is nothing. @throws EvergrantError `FILE_UNUSABLE` when it is not ours. */
export function readServersFile(runDir: string): ServersFile | undefined {
  const path = join(runDir, "servers.json");
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw EvergrantError.from(error, "FILE_UNUSABLE", `reading ${path}`);
  }
  try {
    return serversFile.parse(JSON.parse(text));
  } catch {
    // The cause is dropped: a parser's message quotes the text, which holds passwords (I9).
    throw new EvergrantError("FILE_UNUSABLE", `${path} is not a servers file of this version`);
  }
}

/** Replaces `servers.json`. */
export function writeServersFile(runDir: string, content: ServersFile): void {
  writeOwnFile(join(runDir, "servers.json"), `${JSON.stringify(content, null, 2)}\n`);
}

/** Replaces a file at once, mode 0600. @throws EvergrantError `FILE_UNUSABLE` */
export function writeOwnFile(path: string, text: string): void {
  try {
    writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
    renameSync(`${path}.new`, path);
  } catch (error) {
    throw EvergrantError.from(error, "FILE_UNUSABLE", `writing ${path}`);
  }
}
