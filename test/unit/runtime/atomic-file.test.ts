import { spawnSync } from "node:child_process";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { open, rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  type AtomicFiles,
  removeDurably,
  writeAtomically,
} from "../../../src/runtime/atomic-file.ts";
import { systemRandom as random } from "../../../src/runtime/system-clock.ts";

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "evergrant-atomic-"));
  path = join(dir, "f");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const content = Buffer.from("new");
const fault = (code: string): Error => Object.assign(new Error("hush"), { code });

/** A disk that fails at one of the steps, as a full one does. */
function failing(step: "open" | "write" | "sync" | "rename", code: string): AtomicFiles {
  return {
    async open(...args) {
      if (step === "open") throw fault(code);
      const file = await open(...args);
      if (step === "write") file.writeFile = () => Promise.reject(fault(code));
      if (step === "sync") file.sync = () => Promise.reject(fault(code));
      return file;
    },
    rename: step === "rename" ? () => Promise.reject(fault(code)) : rename,
  };
}

test("the mode is the one that is asked for, whatever the umask", async () => {
  const umask = process.umask(0o077);
  try {
    expect(await writeAtomically({ path, content, mode: 0o644, random })).toBe(true);
  } finally {
    process.umask(umask);
  }
  expect(statSync(path).mode & 0o777).toBe(0o644);
  expect(readFileSync(path, "utf8")).toBe("new");
  expect(readdirSync(dir)).toEqual(["f"]);
});

test.each([
  ["open", "ENOSPC", "the disk is full"],
  ["write", "ENOSPC", "the disk is full"],
  ["sync", "ENOSPC", "the disk is full"],
  ["write", "EDQUOT", "the disk quota is used up"],
  ["sync", "EIO", "the file system refused"],
  ["rename", "EACCES", "permission is denied"],
] as const)(
  "a disk that fails at %s with %s leaves the old file and no temporary one",
  async (step, code, words) => {
    writeFileSync(path, "old");
    const files = failing(step, code);
    await expect(
      writeAtomically({ path, content, mode: 0o600, random, files }),
    ).rejects.toMatchObject({
      code: "RECEIVER_FAILED",
      message: `[RECEIVER_FAILED] ${path} cannot be replaced: ${words} (${code})`,
      details: { path, systemCode: code },
    });
    expect(readFileSync(path, "utf8")).toBe("old");
    expect(readdirSync(dir)).toEqual(["f"]);
  },
);

test("what is superseded before the rename leaves the old file", async () => {
  writeFileSync(path, "old");
  const superseded = (): boolean => true;
  expect(await writeAtomically({ path, content, mode: 0o600, random, superseded })).toBe(false);
  expect(readFileSync(path, "utf8")).toBe("old");
  expect(readdirSync(dir)).toEqual(["f"]);
});

test("temporary files of dead processes are removed, those of living ones and of other files are not", async () => {
  const dead = spawnSync("true").pid;
  const kept = [`.f.evergrant-${process.ppid}-aa-1`, `.g.evergrant-${dead}-aa-1`];
  const gone = [`.f.evergrant-${dead}-aa-1`, `.f.evergrant-${process.pid}-ofanearlierlife-1`];
  for (const name of [...kept, ...gone]) writeFileSync(join(dir, name), "left over");
  await writeAtomically({ path, content, mode: 0o600, random });
  expect(readdirSync(dir).sort()).toEqual([...kept, "f"].sort());
});

test("a link in the file's place is replaced, and what it pointed to is not written to", async () => {
  writeFileSync(join(dir, "precious"), "precious");
  symlinkSync(join(dir, "precious"), path);
  await writeAtomically({ path, content, mode: 0o600, random });
  expect(readFileSync(join(dir, "precious"), "utf8")).toBe("precious");
  expect(readFileSync(path, "utf8")).toBe("new");
});

test("removing a file that is not there is no failure", async () => {
  await removeDurably(path);
  await removeDurably(join(dir, "no folder", "f"));
  expect(readdirSync(dir)).toEqual([]);
});

test("a folder that is not there is named as the cause", async () => {
  const lost = join(dir, "no folder", "f");
  await expect(writeAtomically({ path: lost, content, mode: 0o600, random })).rejects.toMatchObject(
    {
      message: expect.stringContaining("its folder does not exist (ENOENT)"),
    },
  );
});

test("exclusive: makes the file, and leaves one that is there as it is", async () => {
  const make = { path, mode: 0o600, random, exclusive: true, code: "FILE_UNUSABLE" } as const;
  await writeAtomically({ ...make, content: Buffer.from("first") });
  await expect(writeAtomically({ ...make, content })).rejects.toMatchObject({
    code: "FILE_UNUSABLE",
    message: expect.stringContaining(`${path} cannot be made: it exists (EEXIST)`),
    details: { exists: true },
  });
  expect(readFileSync(path, "utf8")).toBe("first");
  expect(readdirSync(dir)).toEqual(["f"]);
});
