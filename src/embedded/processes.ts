/**
 * Other processes of this machine, told apart by more than a process id (ids are used again).
 * Owns the questions "is it alive, is it that one, make it end"; refuses to start any.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { between, type Clock, type DurationMs, durationMs } from "../protocol/time.ts";

const HAS_PROC = existsSync("/proc/self/stat");

/** Whether a process runs. A zombie does not: in a container nobody may ever collect it. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  return !HAS_PROC || statFields(pid)?.[0] !== "Z";
}

/** When the process started, as an opaque word: with the id it names one process for good. */
export function startedAs(pid: number): string | undefined {
  if (HAS_PROC) return statFields(pid)?.[19];
  return ps(pid, "lstart=");
}

/** The command line, arguments joined by blanks; undefined when there is no such process. */
export function commandLine(pid: number): string | undefined {
  if (!HAS_PROC) return ps(pid, "args=");
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ");
  } catch {
    return undefined;
  }
}

/** Asks (SIGTERM), and after `grace` makes (SIGKILL) a process end; returns once it is gone. */
export async function endProcess(pid: number, clock: Clock, grace: DurationMs): Promise<void> {
  signal(pid, "SIGTERM");
  signal(pid, "SIGCONT"); // a stopped process does not see SIGTERM
  const since = clock.now().mono;
  let killed = false;
  while (isAlive(pid)) {
    if (!killed && between(since, clock.now().mono) >= grace) {
      signal(pid, "SIGKILL");
      killed = true;
    }
    await pause(clock, durationMs(20));
  }
}

/** Sends a signal; false when the process is gone or not ours. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** Resolves after `length` on the clock's monotonic time. */
export function pause(clock: Clock, length: DurationMs): Promise<void> {
  return new Promise((resolve) => void clock.timer(length, resolve));
}

/** /proc/<pid>/stat from the state on; the name before it may hold blanks and brackets. */
function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

function ps(pid: number, column: string): string | undefined {
  try {
    const said = execFileSync("ps", ["-ww", "-o", column, "-p", String(pid)], { encoding: "utf8" });
    return said.trim() === "" ? undefined : said.trim();
  } catch {
    return undefined;
  }
}
