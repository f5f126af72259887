/**
 * The demo's processes. Owns that none of them outlives it: each has a process group of its own, so
 * that Ctrl-C reaches the demo alone, which then ends them in order.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { EvergrantError } from "../../protocol/errors.ts";
import type { Clock, DurationMs } from "../../protocol/time.ts";

export interface DemoChild {
  readonly name: string;
  /** Resolves with the exit code, 128 and more for a signal. Never rejects. */
  readonly ended: Promise<number>;
  readonly running: boolean;
  /** The last line of its log that is meant for people. */
  readonly lastWords: string;
  signal(name: NodeJS.Signals): void;
}

export interface ChildOptions {
  readonly name: string;
  /** Arguments of the `evergrant` command. */
  readonly args: readonly string[];
  /** Where its standard error goes: `NAME.log`. */
  readonly logDir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Each JSON document that it prints. Other lines are dropped. */
  readonly onEvent?: (event: Readonly<Record<string, unknown>>) => void;
}

/** This tree's own command line, as sources or as built. */
const ENTRY = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "../main.ts" : "../main.js", import.meta.url),
);

/** Arguments after `node` that run the `evergrant` command; `--` keeps Node.js from reading `--env-file`. */
export const evergrantCommand = (...args: readonly string[]): string[] => ["--", ENTRY, ...args];

export function startDemoChild(options: ChildOptions): DemoChild {
  // The pipe to its stdin stays open for as long as this process lives: `--with-parent` sees it end.
  const child = spawn(process.execPath, evergrantCommand(...options.args), {
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: withoutAws(options.env),
  });
  const log = createWriteStream(join(options.logDir, `${options.name}.log`), { mode: 0o600 });
  let lastWords = "";
  createInterface({ input: child.stderr }).on("line", (line) => {
    log.write(`${line}\n`);
    if (line !== "" && !line.startsWith("{")) lastWords = line;
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const event = documentIn(line);
    if (event !== undefined) options.onEvent?.(event);
  });
  child.stdin.on("error", () => undefined);
  let running = true;
  const ended = new Promise<number>((resolve) => {
    const finish = (code: number): void => {
      running = false;
      log.end();
      resolve(code);
    };
    child.once("error", () => finish(127));
    child.once("close", (code, signal) => finish(code ?? (signal === null ? 1 : 128)));
  });
  return {
    name: options.name,
    ended,
    get running() {
      return running;
    },
    get lastWords() {
      return lastWords;
    },
    signal: (name) => kill(child, name),
  };
}

/** Asks every child to end, and after `grace` makes those that still run, with all that they started. */
export async function endChildren(
  children: readonly DemoChild[],
  clock: Clock,
  grace: DurationMs,
): Promise<void> {
  for (const child of children) if (child.running) child.signal("SIGTERM");
  const cancel = clock.timer(grace, () => {
    for (const child of children) if (child.running) child.signal("SIGKILL");
  });
  await Promise.all(children.map((child) => child.ended));
  cancel();
}

/** Rejects when the child ends, for racing with what is awaited from it. */
export async function endedTooSoon(child: DemoChild): Promise<never> {
  const code = await child.ended;
  const why = child.lastWords === "" ? "" : `: ${child.lastWords}`;
  throw new EvergrantError("INTERNAL", `${child.name} has ended with ${code}${why}`);
}

/** SIGKILL goes to the whole group: what the child started must not be left behind. */
function kill(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(name === "SIGKILL" ? -child.pid : child.pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

/** The person's own settings of AWS, and files of another job, must not decide what the demo shows. */
function withoutAws(
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  const kept = Object.entries(env).filter(([name]) => !/^AWS_|^EVERGRANT_.*_FILE$/.test(name));
  return { ...Object.fromEntries(kept), AWS_EC2_METADATA_DISABLED: "true" };
}

function documentIn(line: string): Readonly<Record<string, unknown>> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
}
