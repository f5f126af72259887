/**
 * Runs one command in a process group of its own, with a limit on its time. Owns that nothing of
 * the group outlives the limit. Refuses to read what the command prints: it may hold secrets (I9).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { EvergrantError } from "../../../protocol/errors.ts";
import { type Clock, type DurationMs, seconds } from "../../../protocol/time.ts";

/** Between the request to end (SIGTERM) and the end that cannot be refused (SIGKILL). */
const GRACE = seconds(2);

export interface CommandRun {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  /** Written to standard input, which is then closed; absent: it is empty. */
  readonly input: string | undefined;
  readonly output: "ignore" | "inherit";
  readonly limit: DurationMs;
  readonly clock: Clock;
  /** Ends the run early. */
  readonly stopped: AbortSignal;
}

/** Resolves when it has ended with 0. @throws EvergrantError `RECEIVER_FAILED` with the exit code, signal or limit. */
export function runCommand(run: CommandRun): Promise<void> {
  const [program = "", ...args] = run.command;
  return new Promise((resolve, reject) => {
    let ending: string | undefined;
    let cancelKill = (): void => undefined;
    const finish = (why?: string, details: Record<string, string | number> = {}): void => {
      cancelLimit();
      cancelKill();
      run.stopped.removeEventListener("abort", onStop);
      if (why === undefined) resolve();
      else reject(new EvergrantError("RECEIVER_FAILED", `${program} ${why}`, { details }));
    };
    const end = (why: string): void => {
      if (ending !== undefined) return;
      ending = why;
      signalGroup(child, "SIGTERM");
      cancelKill = run.clock.timer(GRACE, () => signalGroup(child, "SIGKILL"));
    };
    const onStop = (): void => end("was ended because the agent stops");
    const child = spawn(program, args, {
      cwd: run.cwd,
      env: run.env,
      detached: true,
      stdio: ["pipe", ...outputs(run.output)],
    });
    const cancelLimit = run.clock.timer(run.limit, () => end(`took longer than ${run.limit} ms`));
    run.stopped.addEventListener("abort", onStop);
    if (run.stopped.aborted) onStop();
    child.stdin?.on("error", () => undefined); // it need not read its input
    child.stdin?.end(run.input ?? "");
    child.once("error", (error: NodeJS.ErrnoException) => {
      finish(`cannot be started (${error.code ?? error.name})`);
    });
    child.once("exit", (code, signal) => {
      if (ending !== undefined) {
        signalGroup(child, "SIGKILL"); // what it started may still run
        finish(ending);
      } else if (code === 0) finish();
      else if (code !== null) finish(`ended with exit code ${code}`, { exitCode: code });
      else finish(`was ended by ${signal ?? "a signal"}`, { signal: signal ?? "" });
    });
  });
}

/** File descriptors 1 and 2; the agent's standard output is for data, so both go to its standard error. */
const outputs = (output: "ignore" | "inherit"): ["ignore", "ignore"] | [2, 2] =>
  output === "inherit" ? [2, 2] : ["ignore", "ignore"];

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // All of it is gone.
  }
}
