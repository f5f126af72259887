/**
 * One set-up at a time per tree. The lock is a folder that appears whole (by rename) with its owner's
 * identity in it; one whose owner is dead is taken over, after ending what that owner left at work.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { identity, say, signalGroup, throwIfInterrupted } from "./children.mjs";

const POLL_MS = 100;
const LEFTOVER_GRACE_MS = 10_000;

/** Waits for the lock. Returns `{ note(pid), release() }`; `note` records the child at work. */
export async function takeLock(stateDir) {
  mkdirSync(stateDir, { recursive: true });
  const lock = join(stateDir, "setup.lock");
  const fresh = join(stateDir, `setup.lock.${process.pid}`);
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh);
  writeFileSync(join(fresh, "owner"), identity(process.pid) || String(process.pid));
  let told = false;
  try {
    for (;;) {
      throwIfInterrupted();
      try {
        renameSync(fresh, lock); // fails on a folder that holds something
        break;
      } catch (error) {
        if (!["ENOTEMPTY", "EEXIST"].includes(error.code)) throw error;
      }
      const owner = read(join(lock, "owner"));
      if (owner !== undefined && isGone(owner)) {
        await takeAway(lock, owner);
        continue;
      }
      if (!told && owner !== undefined) {
        say(`another set-up (process ${owner.split(" ")[0]}) is at work here, waiting for it`);
      }
      told = true;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return {
    note: (pid) => writeFileSync(join(lock, "child"), identity(pid) || ""),
    release: () => rmSync(lock, { recursive: true, force: true }),
  };
}

async function takeAway(lock, owner) {
  const child = read(join(lock, "child"));
  if (child) await endLeftover(child);
  const stale = `${lock}.stale.${process.pid}`;
  try {
    renameSync(lock, stale);
  } catch {
    return; // somebody else took it away
  }
  if (read(join(stale, "owner")) === owner) {
    say(`an earlier set-up (process ${owner.split(" ")[0]}) ended midway, going on from there`);
  } else {
    // Between our look and our rename a third set-up took over: give it its lock back.
    try {
      renameSync(stale, lock);
      return;
    } catch {
      // Yet another one holds it by now; the two then wait for each other's npm, not corrupt it.
    }
  }
  rmSync(stale, { recursive: true, force: true });
}

/** Ends the npm or apt of a killed set-up: two of them in one tree would spoil it. */
async function endLeftover(child) {
  const pid = Number(child.split(" ")[0]);
  const since = Date.now();
  while (!isGone(child)) {
    signalGroup({ pid }, Date.now() - since > LEFTOVER_GRACE_MS ? "SIGKILL" : "SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function isGone(who) {
  return identity(Number(who.split(" ")[0])) !== who;
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
