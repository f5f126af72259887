/**
 * The consumer that `evergrant agent --exec -- CMD` starts. Owns its life: it starts only when told,
 * shares the agent's standard streams, gets the agent's signals, and its end becomes an exit code.
 * Refuses to know when credentials are ready.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";

/** What is handed on to the child. */
export const FORWARDED_SIGNALS = [
  "SIGINT",
  "SIGTERM",
  "SIGHUP",
  "SIGQUIT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGWINCH",
] as const satisfies readonly NodeJS.Signals[];

/** The shell's codes for a command that did not run. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/** Those that a terminal sends to the whole foreground group, so that the child has had them already. */
const FROM_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(["SIGINT", "SIGQUIT", "SIGWINCH"]);

export interface ChildOutcome {
  /** Its exit code; 128+n when signal n ended it; 127 not found; 126 not executable. */
  readonly exitCode: number;
  /** Why it did not start, for the person at the terminal; absent when it did. */
  readonly message?: string;
}

export interface ChildRun {
  /** Program and arguments. */
  readonly command: readonly string[];
  /** The whole environment of the child. */
  readonly env: Readonly<Record<string, string>>;
  /** Where signals arrive. Default: this process. */
  readonly signals?: Pick<NodeJS.Process, "on" | "removeListener">;
  /** Whether Ctrl-C reaches the child without us. Default: asks the system. */
  readonly sharesTerminal?: () => boolean;
}

export interface RunningChild {
  readonly pid: number | undefined;
  /** Resolves when it has ended, or could not be started. Never rejects. */
  readonly ended: Promise<ChildOutcome>;
  /** Sends it a signal; false when it has ended. */
  signal(name: NodeJS.Signals): boolean;
}

/** Starts the child now. While it lives, forwarded signals do what they do to it, and nothing to this process. */
export function startChild(run: ChildRun): RunningChild {
  const { signals = process, sharesTerminal = inForeground } = run;
  const [program = "", ...args] = run.command;
  const listeners = new Map<NodeJS.Signals, () => void>();
  let child: ChildProcess | undefined;
  const ended = new Promise<ChildOutcome>((resolve) => {
    const finish = (outcome: ChildOutcome): void => {
      for (const [name, listener] of listeners) signals.removeListener(name, listener);
      resolve(outcome);
    };
    for (const name of FORWARDED_SIGNALS) {
      const listener = (): void => {
        // A second Ctrl-C means "now" to many programs: do not make two of one.
        if (FROM_TERMINAL.has(name) && sharesTerminal()) return;
        child?.kill(name);
      };
      listeners.set(name, listener);
      signals.on(name, listener);
    }
    try {
      child = spawn(program, args, { env: run.env, stdio: "inherit" });
      child.once("error", (error) => finish(notStarted(program, error)));
      child.once("exit", (code, signal) => {
        finish({ exitCode: code ?? 128 + (signal === null ? 0 : constants.signals[signal]) });
      });
    } catch (error) {
      finish(notStarted(program, error)); // e.g. an argument with NUL
    }
  });
  return {
    pid: child?.pid,
    ended,
    signal: (name) => child?.kill(name) ?? false,
  };
}

function notStarted(program: string, error: unknown): ChildOutcome {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT"
    ? { exitCode: NOT_FOUND, message: `${program}: command not found` }
    : {
        exitCode: NOT_EXECUTABLE,
        message: `${program}: cannot be executed (${code ?? "unknown"})`,
      };
}

/** Whether this process is in the foreground group of a terminal, as its child then is. */
function inForeground(): boolean {
  try {
    const stat = readFileSync("/proc/self/stat", "utf8");
    const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return group === foreground;
  } catch {
    return process.stdin.isTTY === true;
  }
}
