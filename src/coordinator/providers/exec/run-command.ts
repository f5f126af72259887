/**
 * Runs one command to its end: no shell, standard input closed, output bounded, a process group of
 * its own that is ended as a whole. What it writes to its standard error may hold secrets: only the
 * length is kept (I9).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import { type CancelTimer, type Clock, seconds } from "../../../protocol/time.ts";

/** Bytes of standard output that are taken. */
export const LARGEST_OUTPUT = 1024 * 1024;
/** Between asking a command to end and killing it. */
const GRACE = seconds(2);
/** What a program needs to run at all. Credentials of the coordinator are not among them. */
const PLAIN_VARIABLES = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

export interface Command {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Names of own variables that are handed on. */
  readonly passEnv: readonly string[];
  readonly cwd: string | undefined;
}

export interface Ended {
  /** Undefined: ended by a signal. */
  readonly exitCode: number | undefined;
  readonly exitSignal: string | undefined;
  readonly stdout: Secret<Buffer>;
  readonly stderrBytes: number;
}

/**
 * @throws EvergrantError PROVIDER_INPUT_MISSING where it can't be started, ISSUER_TIMEOUT at the
 *   signal, ISSUER_ANSWER_UNUSABLE where it prints more than 1 MiB.
 */
export async function runCommand(
  command: Command,
  signal: AbortSignal,
  clock: Clock,
): Promise<Ended> {
  const [program = "", ...args] = command.argv;
  if (signal.aborted) throw timeout(program);
  const child = spawn(program, args, {
    env: environment(command),
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own, so that what the command has started ends with it.
    detached: true,
  });
  const chunks: Buffer[] = [];
  let size = 0;
  let stderrBytes = 0;
  return new Promise<Ended>((resolve, reject) => {
    const settle = (finish: () => void): void => {
      signal.removeEventListener("abort", onAbort);
      finish();
    };
    const giveUp = (error: EvergrantError): void => {
      endGroup(child, clock);
      child.stdout?.destroy();
      child.stderr?.destroy();
      settle(() => reject(error));
    };
    const onAbort = (): void => giveUp(timeout(program));
    signal.addEventListener("abort", onAbort, { once: true });
    child.stdout?.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= LARGEST_OUTPUT) chunks.push(chunk);
      else giveUp(tooMuch(program));
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      stderrBytes += chunk.length;
    });
    child.once("error", (thrown: NodeJS.ErrnoException) => {
      const reason = thrown.code ?? "unknown";
      const message = `the command ${program} can't be started (${reason})`;
      settle(() =>
        reject(
          new EvergrantError("PROVIDER_INPUT_MISSING", message, { details: { program, reason } }),
        ),
      );
    });
    child.once("close", (exitCode, exitSignal) => {
      settle(() =>
        resolve({
          exitCode: exitCode ?? undefined,
          exitSignal: exitSignal ?? undefined,
          stdout: new Secret(Buffer.concat(chunks)),
          stderrBytes,
        }),
      );
    });
  });
}

function environment({ env, passEnv }: Command): Record<string, string> {
  const kept = [...PLAIN_VARIABLES, ...passEnv].flatMap((name): [string, string][] => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  });
  return { ...Object.fromEntries(kept), ...env };
}

/** Asks the whole group to end, and kills what is left of it after the grace. */
function endGroup(child: ChildProcess, clock: Clock): void {
  let cancel: CancelTimer = () => {};
  child.once("exit", () => {
    cancel();
    // The leader is gone; what it has started is not asked a second time.
    killGroup(child, "SIGKILL");
  });
  killGroup(child, "SIGTERM");
  cancel = clock.timer(GRACE, () => killGroup(child, "SIGKILL"), true);
}

function killGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // The group has ended already.
  }
}

const timeout = (program: string): EvergrantError =>
  new EvergrantError("ISSUER_TIMEOUT", `the command ${program} did not end in time`, {
    details: { program },
  });

const tooMuch = (program: string): EvergrantError =>
  new EvergrantError(
    "ISSUER_ANSWER_UNUSABLE",
    `the command ${program} printed more than ${LARGEST_OUTPUT} bytes`,
    { details: { program } },
  );
