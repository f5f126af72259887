/**
 * The `evergrant` command as processes of their own, each in a process group that ends with the test
 * file at the latest. Owns their output and their end.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { eventually } from "./eventually.ts";

const ENTRY = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export interface EvergrantProcess {
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  readonly running: boolean;
  /** The exit code; 128 and more when a signal ended it. */
  readonly ended: Promise<number>;
  signal(name: NodeJS.Signals): void;
  /** Resolves once stdout holds the text. Fails with all output when the process ends before. */
  says(text: string): Promise<void>;
  /** Closes its standard input. */
  closeStdin(): void;
}

const started: { readonly child: ChildProcess; readonly ended: Promise<number> }[] = [];
afterAll(async () => {
  for (const { child } of started) {
    if (child.exitCode === null && child.signalCode === null) killGroup(child);
  }
  await Promise.all(started.map(({ ended }) => ended));
});

export interface ProcessOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Default `ignore`. */
  readonly stdin?: "ignore" | "pipe";
}

/** Starts `evergrant ARGS…` with no other environment than PATH, HOME and what is given. */
export function evergrant(args: readonly string[], options: ProcessOptions): EvergrantProcess {
  return startProcess(process.execPath, ["--", ENTRY, ...args], options);
}

/** Arguments after `node` that run the command. */
export const evergrantArgs = (...args: readonly string[]): string[] => ["--", ENTRY, ...args];

/** Starts any program so. */
export function startProcess(
  program: string,
  args: readonly string[],
  { cwd, env, stdin = "ignore" }: ProcessOptions,
): EvergrantProcess {
  const child = spawn(program, args, {
    cwd,
    detached: true,
    stdio: [stdin, "pipe", "pipe"],
    env: { PATH: process.env["PATH"], HOME: cwd, ...env },
  });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (chunk: string) => {
      output[name] += chunk;
    });
  }
  let running = true;
  const ended = new Promise<number>((resolve) => {
    child.once("close", (code, signal) => {
      running = false;
      resolve(code ?? (signal === null ? 1 : 128));
    });
  });
  started.push({ child, ended });
  return {
    pid: child.pid ?? 0,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    get running() {
      return running;
    },
    ended,
    signal: (name) => void child.kill(name),
    closeStdin: () => void child.stdin?.end(),
    async says(text) {
      await eventually(() => output.stdout.includes(text) || !running);
      if (output.stdout.includes(text)) return;
      throw new Error(`it ended before it said "${text}":\n${output.stdout}\n${output.stderr}`);
    },
  };
}

/** Runs a command to its end. */
export async function runEvergrant(
  args: readonly string[],
  options: ProcessOptions,
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const child = evergrant(args, options);
  const code = await child.ended;
  return { code, stdout: child.stdout(), stderr: child.stderr() };
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}
