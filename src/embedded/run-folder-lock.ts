/**
 * One owner per run folder: two coordinators with one set of embedded servers would end each
 * other's. Owns the lock file; refuses to know what it protects. A lock whose owner is dead is
 * taken over, so nothing has to be cleaned up after a kill -9.
 */
import { mkdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EvergrantError } from "../protocol/errors.ts";
import { type Clock, durationMs } from "../protocol/time.ts";
import { isAlive, pause, startedAs } from "./processes.ts";

/** A lock file that stays empty this long was left by somebody who died while writing it. */
const WRITING_MS = 2000;
const POLL = durationMs(50);

/**
 * Takes the folder for this process and returns what gives it back.
 *
 * @throws EvergrantError `FILE_UNUSABLE` when a living process holds it, or it cannot be written.
 */
export async function lockRunFolder(runDir: string, clock: Clock): Promise<() => void> {
  const lockFile = join(runDir, "servers.lock");
  const mine = `${process.pid} ${startedAs(process.pid) ?? ""}\n`;
  for (;;) {
    try {
      writeFileSync(lockFile, mine, { flag: "wx", mode: 0o600 });
      return () => {
        if (read(lockFile) === mine) rmSync(lockFile, { force: true });
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
        throw EvergrantError.from(error, "FILE_UNUSABLE", "writing to the run folder");
      }
    }
    if (!(await takenOver(lockFile, clock))) await pause(clock, POLL);
  }
}

/** Removes a dead owner's lock. Only one process at a time judges and removes. */
async function takenOver(lockFile: string, clock: Clock): Promise<boolean> {
  const guard = `${lockFile}.judging`;
  try {
    mkdirSync(guard);
  } catch {
    if (age(guard, clock) > WRITING_MS) rmdirQuietly(guard);
    return false;
  }
  try {
    const found = read(lockFile);
    if (found === undefined) return true;
    const [pid, birth] = found.trim().split(" ");
    if (found === "" && age(lockFile, clock) <= WRITING_MS) return false;
    const owner = Number(pid);
    if (owner > 0 && isAlive(owner) && (startedAs(owner) ?? "") === (birth ?? "")) {
      throw new EvergrantError(
        "FILE_UNUSABLE",
        `the run folder is in use by process ${owner}: stop that one, or give this one its own runDir`,
        { details: { ownerPid: owner } },
      );
    }
    rmSync(lockFile, { force: true });
    return true;
  } finally {
    rmdirQuietly(guard);
  }
}

function age(path: string, clock: Clock): number {
  try {
    return clock.now().wall - statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function rmdirQuietly(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Somebody else removed it.
  }
}
