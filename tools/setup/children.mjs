/**
 * Child processes of the set-up: one at a time, told of Ctrl-C and awaited, so that an interrupted
 * `npm ci` is never left at work behind the next start.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";

/** Thrown with a sentence for the user; anything else that is thrown is a defect. */
export class SetupError extends Error {}

/** Ends the set-up with 128 plus the number of the signal. */
export class Interrupted extends Error {
  constructor(signal) {
    super(`interrupted by ${signal}`);
    this.signal = signal;
  }
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];
const SIGNAL_NUMBER = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };
/** A child that does not end this long after the signal is killed. */
const GRACE_MS = 15_000;
/** Without a terminal npm is silent for long; a word now and then shows that nothing hangs. */
const HEARTBEAT_MS = 10_000;

let interruptedBy;
let current;

/** Progress goes to stderr: stdout belongs to the command that is run afterwards. */
export function say(text) {
  process.stderr.write(`set-up: ${text}\n`);
}

export function exitCodeOfSignal(signal) {
  return 128 + (SIGNAL_NUMBER[signal] || 15);
}

/** From here on a signal goes to the child at work, and the set-up ends after it. Returns the undoing. */
export function catchSignals() {
  const handlers = SIGNALS.map((signal) => {
    const handler = () => {
      const first = interruptedBy === undefined;
      interruptedBy = interruptedBy || signal;
      if (current === undefined) return;
      // npm unpacks to the end what it has begun: seconds in which nobody should have to wonder.
      if (first) say(`${signal}: ending ${current.doing}`);
      signalGroup(current, signal);
      setTimeout(() => current !== undefined && signalGroup(current, "SIGKILL"), GRACE_MS).unref();
    };
    process.on(signal, handler);
    return () => process.removeListener(signal, handler);
  });
  return () => {
    for (const undo of handlers) undo();
  };
}

/** Throws when a signal came since `catchSignals()`. */
export function throwIfInterrupted() {
  if (interruptedBy !== undefined) throw new Interrupted(interruptedBy);
}

/**
 * Runs a command to its end; true when it succeeded. `onStart(pid)` is told of the process.
 * It gets a process group of its own: the terminal's Ctrl-C then reaches it once, through us.
 */
export async function run(command, args, { cwd, env, doing, onStart, quiet } = {}) {
  throwIfInterrupted();
  const started = Date.now();
  const child = spawn(command, args, {
    cwd,
    env,
    detached: true,
    stdio: ["ignore", quiet ? "ignore" : 2, quiet ? "ignore" : 2],
  });
  current = { pid: child.pid, doing: doing || command };
  if (onStart !== undefined && child.pid !== undefined) onStart(child.pid);
  const heartbeat = setInterval(() => {
    say(`${current.doing}: still at it after ${Math.round((Date.now() - started) / 1000)} s`);
  }, HEARTBEAT_MS);
  const succeeded = await new Promise((resolve) => {
    child.once("error", () => resolve(false));
    child.once("exit", (code) => resolve(code === 0));
  });
  clearInterval(heartbeat);
  current = undefined;
  throwIfInterrupted();
  return succeeded;
}

/** What a short command prints; undefined when it fails. */
export function output(command, args, options = {}) {
  try {
    return execFileSync(command, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      ...options,
    });
  } catch {
    return undefined;
  }
}

/** `pid birth`: names one process for good, since process ids are used again. Undefined when it is gone. */
export function identity(pid) {
  if (existsSync("/proc/self/stat")) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return fields[0] === "Z" ? undefined : `${pid} ${fields[19]}`;
    } catch {
      return undefined;
    }
  }
  const birth = output("ps", ["-o", "lstart=", "-p", String(pid)]);
  return birth === undefined || birth.trim() === "" ? undefined : `${pid} ${birth.trim()}`;
}

export function signalGroup({ pid }, signal) {
  try {
    process.kill(-pid, signal);
  } catch {
    // It has just ended.
  }
}
