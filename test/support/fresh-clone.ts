/**
 * The tree as a fresh clone, in a folder of its own with a blank in its name, and commands in it as
 * somebody types them there: with the machine's own Node.js and npm, in a process group, without a terminal.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll } from "vitest";
import { isAlive } from "../../src/embedded/processes.ts";
import { eventually } from "./eventually.ts";
import { ROOT, scratch, shellEnvironment } from "./packed-package.ts";

/** What a commit of the whole working tree would hold. */
const FILES = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];

/** Copies the tree without what is ignored. It goes with the test file. */
export function freshClone(name: string): string {
  const dir = scratch(name);
  const listed = execFileSync("git", FILES, { cwd: ROOT, encoding: "utf8" }).split("\0");
  for (const file of listed.filter((path) => path !== "" && existsSync(join(ROOT, path)))) {
    mkdirSync(dirname(join(dir, file)), { recursive: true });
    cpSync(join(ROOT, file), join(dir, file));
  }
  return dir;
}

export interface CloneCommand {
  /** All that it shows. */
  output(): string;
  /** The exit code as a shell tells it: 130 after SIGINT. */
  readonly ended: Promise<number>;
  /** Resolves once the condition holds. Fails with the output when the command ends before. */
  until(condition: () => boolean): Promise<void>;
  /** Ctrl-C: to the whole process group. */
  interrupt(): void;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** User and group of that id; this test's own by default. */
  readonly uid?: number | undefined;
}

const started: { readonly dir: string; readonly child: ChildProcess }[] = [];
afterAll(() => {
  for (const { dir, child } of started) {
    // The set-up gives npm a group of its own.
    for (const pid of processesIn(dir)) kill(pid, "SIGKILL");
    if (child.pid !== undefined) kill(-child.pid, "SIGKILL");
  }
});

/** PATH without what this tree's own set-up has put into it. */
export const machinePath = (): string =>
  (process.env["PATH"] ?? "")
    .split(":")
    .filter((folder) => !resolve(folder).startsWith(ROOT))
    .join(":");

/** Starts a command in a clone. */
export function startIn(
  dir: string,
  program: string,
  args: readonly string[],
  { env = {}, uid }: CommandOptions = {},
): CloneCommand {
  const child = spawn(program, args, {
    cwd: dir,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...shellEnvironment(process.env["HOME"] ?? dir), PATH: machinePath(), ...env },
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  started.push({ dir, child });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
    });
  }
  let running = true;
  const ended = new Promise<number>((finish, fail) => {
    child.once("error", fail);
    child.once("close", (code, signal) => {
      running = false;
      finish(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
  return {
    output: () => output,
    ended,
    async until(condition) {
      await eventually(() => condition() || !running);
      if (!running) throw new Error(`it ended too soon:\n${output}`);
    },
    interrupt: () => {
      if (child.pid !== undefined) kill(-child.pid, "SIGINT");
    },
  };
}

/** Processes that work in the folder, or whose command line names it. */
export function processesIn(dir: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && isAlive(pid))
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return line.includes(dir) || readlinkSync(`/proc/${pid}/cwd`).startsWith(dir);
      } catch {
        return false; // it has ended meanwhile, or is somebody else's
      }
    });
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}
