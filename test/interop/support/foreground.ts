/** Foreign servers as children of the test: their log in a file, their end with the test's at the latest. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";

/** A server that runs in the foreground. */
export interface Foreground {
  readonly pid: number;
  /** What it has written, of all of its lives under this log file. */
  readonly log: () => string;
  /** Resolves when it is gone. */
  readonly gone: Promise<void>;
  /** SIGTERM, or the given signal, awaited. Does nothing when it is gone. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export function startForeground(
  program: string,
  args: readonly string[],
  { logFile, env }: { readonly logFile: string; readonly env?: NodeJS.ProcessEnv },
): Foreground {
  const out = openSync(logFile, "a");
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", out, out],
  });
  closeSync(out);
  running.add(child);
  let isGone = false;
  const gone = new Promise<void>((resolve) => {
    const end = (): void => {
      isGone = true;
      running.delete(child);
      resolve();
    };
    child.once("exit", end);
    child.once("error", end);
  });
  return {
    pid: child.pid ?? 0,
    log: () => readFileSync(logFile, "utf8"),
    gone,
    async end(signal = "SIGTERM") {
      if (!isGone) child.kill(signal);
      await gone;
    },
  };
}

export interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly input?: string } = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...process.env, ...options.env } });
    running.add(child);
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.once("error", reject);
    child.once("close", (status) => {
      running.delete(child);
      resolve({ status: status ?? -1, stdout, stderr });
    });
    child.stdin.once("error", () => undefined); // it ended without reading, which its status tells
    child.stdin.end(options.input ?? "");
  });
}
