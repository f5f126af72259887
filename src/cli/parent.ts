/**
 * `--with-parent`: notices that the process which started this one is gone. Owns the two signs of it:
 * the end of stdin, when that is a pipe, and another parent's id.
 */
import { fstatSync } from "node:fs";
import { type Clock, durationMs } from "../protocol/time.ts";

const POLL = durationMs(250);

/** Calls `gone` once. Returns what takes it back. */
export function onParentGone(clock: Clock, gone: () => void): () => void {
  const parent = process.ppid;
  let over = false;
  const finish = (): void => {
    if (over) return;
    stop();
    gone();
  };
  let cancel = (): void => undefined;
  const look = (): void => {
    if (process.ppid !== parent) finish();
    else cancel = clock.timer(POLL, look, true);
  };
  const piped = stdinIsPipe();
  const stop = (): void => {
    over = true;
    cancel();
    if (!piped) return;
    process.stdin.removeListener("end", finish);
    process.stdin.removeListener("close", finish);
    process.stdin.pause();
  };
  if (piped) {
    // What the parent writes is not for us; reading it is the only way to see the end.
    process.stdin.on("end", finish).on("close", finish).on("error", finish).resume();
  }
  look();
  return () => {
    if (!over) stop();
  };
}

/** A terminal or /dev/null says nothing about the parent. */
function stdinIsPipe(): boolean {
  try {
    const stdin = fstatSync(0);
    return stdin.isFIFO() || stdin.isSocket();
  } catch {
    return false;
  }
}
