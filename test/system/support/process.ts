/** A child process whose JSON lines are read as they come: what happened in it, and when. */
import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { systemClock } from "../../../src/runtime/system-clock.ts";

export interface Line {
  /** Of this process's monotonic clock, when the line arrived. */
  readonly at: number;
  /** Of the JSON in it; `{ text }` for what is none. */
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface LoggedProcess {
  readonly name: string;
  readonly pid: number;
  readonly lines: readonly Line[];
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  isAlive(): boolean;
  /** The first line from `since` on that matches, now or later. Fails when the process ends without it. */
  until(match: (fields: Line["fields"]) => boolean, since?: number): Promise<Line>;
  count(match: (fields: Line["fields"]) => boolean, since?: number): number;
  say(command: object): void;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL, awaited. */
  kill(): Promise<void>;
}

/** With EVERGRANT_SYSTEM_LOG=FOLDER every process's lines are kept there, for whoever looks for a cause. */
const folder = process.env["EVERGRANT_SYSTEM_LOG"];

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export interface SpawnOptions {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export function startProcess(options: SpawnOptions): LoggedProcess {
  const child = spawn(process.execPath, options.args, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  running.add(child);
  const lines: Line[] = [];
  const waiting = new Set<(line: Line | undefined) => void>();
  const { pid, stdout, stderr, stdin } = child;
  if (pid === undefined) throw new Error(`${options.name} did not start`);
  stdin.on("error", () => undefined);
  for (const stream of [stdout, stderr]) {
    createInterface({ input: stream }).on("line", (text) => {
      const line = { at: systemClock.now().mono, fields: parsed(text) ?? { text } };
      lines.push(line);
      if (folder !== undefined && line.fields["answer"] === undefined) {
        appendFileSync(`${folder}/${options.name}-${pid}.log`, `${line.at.toFixed(0)} ${text}\n`);
      }
      for (const hear of [...waiting]) hear(line);
    });
  }
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once("close", (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
      for (const hear of [...waiting]) hear(undefined);
    });
  });
  const isAlive = (): boolean => child.exitCode === null && child.signalCode === null;
  return {
    name: options.name,
    pid,
    lines,
    exited,
    isAlive,
    until(match, since = 0) {
      const there = lines.find((line) => line.at >= since && match(line.fields));
      if (there !== undefined) return Promise.resolve(there);
      return new Promise((resolve, reject) => {
        const hear = (line: Line | undefined): void => {
          if (line === undefined) {
            waiting.delete(hear);
            reject(new Error(`${options.name} has ended: ${tail(lines)}`));
          } else if (line.at >= since && match(line.fields)) {
            waiting.delete(hear);
            resolve(line);
          }
        };
        waiting.add(hear);
        if (!isAlive() && child.stdout?.readableEnded === true) hear(undefined);
      });
    },
    count: (match, since = 0) =>
      lines.filter((line) => line.at >= since && match(line.fields)).length,
    say: (command) => void stdin.write(`${JSON.stringify(command)}\n`),
    signal: (signal) => void child.kill(signal),
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** When its process said it, by that process's own clock: no reader is late for this. */
export const saidAt = ({ fields }: Line): number => Date.parse(String(fields["time"]));

function parsed(text: string): Record<string, unknown> | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

const tail = (lines: readonly Line[]): string =>
  lines
    .slice(-15)
    .map(({ fields }) => JSON.stringify(fields))
    .join("\n");
