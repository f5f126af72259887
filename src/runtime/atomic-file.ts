/**
 * Replaces a file so that readers see the old bytes or the new ones, whole, also after a crash:
 * temporary file in the same folder, fsync, rename, fsync of the folder. Owns the names of the
 * temporary files and the removal of those that dead processes left. Refuses to know the content,
 * and never puts it in an error (I9).
 */
import { constants } from "node:fs";
import { type FileHandle, link, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type ErrorCode, EvergrantError } from "../protocol/errors.ts";
import type { Random } from "../protocol/time.ts";

export interface AtomicWrite {
  readonly path: string;
  readonly content: Uint8Array;
  /** Permission bits; the umask is not applied. */
  readonly mode: number;
  /** Numeric user id, -1 or absent: this process's. Others need privileges. */
  readonly uid?: number;
  /** Numeric group id, -1 or absent: this process's. */
  readonly gid?: number;
  readonly random: Random;
  /** Fails instead of replacing a file that is there; `details.exists` is then true. Default false. */
  readonly exclusive?: boolean;
  /** What it fails with. Default `RECEIVER_FAILED`. */
  readonly code?: ErrorCode;
  /** Asked just before the rename: true leaves the old file and resolves to false. */
  readonly superseded?: () => boolean;
  /** For tests: where faults come from. Default: the system's. */
  readonly files?: AtomicFiles;
}

/** The calls that can meet a full or broken disk. */
export interface AtomicFiles {
  open(path: string, flags: number, mode: number): Promise<FileHandle>;
  rename(from: string, to: string): Promise<void>;
}

const SYSTEM: AtomicFiles = { open, rename };

/** Tells our own temporary files from those of an earlier process with the same id. */
let processMark: string | undefined;
let written = 0;

/**
 * Resolves to true once the new content is on disk under its name, to false when it was superseded.
 *
 * @throws EvergrantError of the `code` that was asked for; the old file is then as it was.
 */
export async function writeAtomically(write: AtomicWrite): Promise<boolean> {
  const { path, content, mode, random, files = SYSTEM } = write;
  processMark ??= Buffer.from(random.bytes(6)).toString("hex");
  written += 1;
  const temporary = join(
    dirname(path),
    `${prefixFor(path)}${process.pid}-${processMark}-${written}`,
  );
  try {
    await removeLeftOvers(path);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const file = await files.open(temporary, flags, 0o600);
    try {
      await file.writeFile(content);
      if ((write.uid ?? -1) >= 0 || (write.gid ?? -1) >= 0) {
        await file.chown(write.uid ?? -1, write.gid ?? -1);
      }
      await file.chmod(mode); // after chown, which clears bits
      await file.sync();
    } finally {
      await file.close();
    }
    if (write.superseded?.() === true) {
      await rm(temporary, { force: true });
      return false;
    }
    if (write.exclusive === true) {
      await link(temporary, path);
      await rm(temporary);
    } else {
      await files.rename(temporary, path);
    }
    await syncFolder(dirname(path));
    return true;
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw failure(path, error, write.code);
  }
}

/** Removes the file, durably. Nothing happens when there is none. @throws EvergrantError `RECEIVER_FAILED` */
export async function removeDurably(path: string): Promise<void> {
  try {
    await rm(path, { force: true });
    await syncFolder(dirname(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw failure(path, error);
  }
}

/** Removes temporary files for `path` whose process is gone. A process of another PID namespace counts as gone. */
export async function removeLeftOvers(path: string): Promise<void> {
  const prefix = prefixFor(path);
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(prefix)) continue;
    const [pid, mark] = name.slice(prefix.length).split("-");
    const own = Number(pid) === process.pid;
    if (own ? mark !== processMark : !isAlive(Number(pid))) {
      await rm(join(dirname(path), name), { force: true });
    }
  }
}

const prefixFor = (path: string): string => `.${basename(path)}.evergrant-`;

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Makes the rename itself durable. Some file systems do not take fsync on folders: there it is a no-op. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } catch (error) {
    if (!["EINVAL", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  } finally {
    await handle.close();
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EACCES: "permission is denied",
  EPERM: "owner, group or mode may not be set by this user",
  EROFS: "the file system is read-only",
  ENOENT: "its folder does not exist",
  ENOTDIR: "a part of its path is no folder",
  EISDIR: "a folder has this name",
  EEXIST: "it exists",
};

function failure(
  path: string,
  error: unknown,
  code: ErrorCode = "RECEIVER_FAILED",
): EvergrantError {
  if (error instanceof EvergrantError) return error;
  const systemCode = (error as NodeJS.ErrnoException).code ?? "unknown";
  const exists = systemCode === "EEXIST";
  return new EvergrantError(
    code,
    `${path} cannot be ${exists ? "made" : "replaced"}: ${REASONS[systemCode] ?? "the file system refused"} (${systemCode})`,
    { cause: error, details: { path, systemCode, ...(exists ? { exists } : {}) } },
  );
}
