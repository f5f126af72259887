/**
 * A wall clock that a test steps under a running process (libfaketime): the monotonic clock stays as
 * it is. Found where the distribution puts it, else unpacked from its package without root.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { onTestFinished } from "vitest";

const run = promisify(execFile);

export interface FakeTime {
  readonly env: Readonly<Record<string, string>>;
  /** From now on the process's wall clock is so many seconds off. */
  step(offsetSec: number): Promise<void>;
}

export async function fakeTime(offsetSec = 0): Promise<FakeTime> {
  const library = await findLibrary();
  const dir = await mkdtemp(join(tmpdir(), "evergrant-clock-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, "offset");
  const step = (sec: number): Promise<void> =>
    writeFile(file, `${sec < 0 ? "-" : "+"}${Math.abs(sec)}\n`);
  await step(offsetSec);
  return {
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      FAKETIME_NO_CACHE: "1",
    },
    step,
  };
}

const NAME = "libfaketimeMT.so.1";
const OWN = fileURLToPath(new URL("../../../.evergrant/faketime", import.meta.url));

async function findLibrary(): Promise<string> {
  for (const root of ["/", OWN]) {
    const found = await libraryUnder(join(root, "usr/lib"));
    if (found !== undefined) return found;
  }
  const debs = join(OWN, "deb");
  await mkdir(debs, { recursive: true });
  const download = () =>
    run("apt-get", ["-q", "-o", "APT::Sandbox::User=root", "download", "libfaketime"], {
      cwd: debs,
    });
  try {
    await download();
  } catch {
    await run("apt-get", ["-q", "update"]);
    await download();
  }
  for (const file of await readdir(debs)) await run("dpkg-deb", ["-x", join(debs, file), OWN]);
  const found = await libraryUnder(join(OWN, "usr/lib"));
  if (found === undefined) {
    throw new Error(
      "libfaketime could not be had: install it (apt-get install libfaketime) and run this again",
    );
  }
  return found;
}

async function libraryUnder(lib: string): Promise<string | undefined> {
  if (!existsSync(lib)) return undefined;
  for (const folder of await readdir(lib)) {
    const path = join(lib, folder, "faketime", NAME);
    if (existsSync(path)) return path;
  }
  return undefined;
}
