import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import type { AtomicFiles } from "../../../src/runtime/atomic-file.ts";
import { FileReceiver, fileFactory } from "../../../src/worker-agent/receivers/file/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import {
  awsServing,
  type ReceiverBench,
  receiverBench,
  secretsOf,
} from "../support/receiver-bench.ts";

async function started(
  bench: ReceiverBench,
  options: Readonly<Record<string, unknown>>,
  files?: AtomicFiles,
): Promise<FileReceiver> {
  const receiver = new FileReceiver(fileFactory.options.parse(options), bench.services, files);
  await receiver.start();
  onTestFinished(() => receiver.stop());
  return receiver;
}

test("without a template the file is the credential as a JSON document, mode 0600", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const path = join(bench.dir, "out", "lake.json");
  const receiver = await started(bench, { path });
  await receiver.apply(awsServing(clock, 1));
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({
    provider: "lake",
    kind: "aws-session",
    generation: 1,
    issuedAt: "2026-01-01T00:00:00Z",
    expiresAt: "2026-01-01T01:00:00Z",
    expiresAtSec: Date.UTC(2026, 0, 1, 1) / 1000,
    attributes: { region: "eu-west-1", accountId: "123456789012" },
    material: {
      accessKeyId: "ASIA0000000000000001",
      secretAccessKey: "secret-key-1-hush",
      sessionToken: "session-token-1-hush",
    },
  });
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("the template can be a file, and mode, owner and group can be given by name or number", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const path = join(bench.dir, "lake.env");
  const templateFile = join(bench.dir, "template");
  const field = (inside: string): string => `\${${inside}}`;
  writeFileSync(templateFile, `export REGION=${field("attributes.region|shell")}\n`);
  const options = { path, templateFile, mode: "0640", owner: process.getuid?.(), group: "root" };
  if (process.getuid?.() !== 0) options.group = String(process.getgid?.());
  const receiver = await started(bench, options);
  await receiver.apply(awsServing(clock, 1));
  expect(readFileSync(path, "utf8")).toBe("export REGION='eu-west-1'\n");
  expect(statSync(path)).toMatchObject({ uid: process.getuid?.(), mode: 0o100640 });
});

test("a disk that is full leaves the old file, and the next rotation that finds room is written", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const path = join(bench.dir, "f");
  let full = false;
  const files: AtomicFiles = {
    async open(...args) {
      const file = await open(...args);
      if (full)
        file.writeFile = () => Promise.reject(Object.assign(new Error(), { code: "ENOSPC" }));
      return file;
    },
    rename,
  };
  const receiver = await started(bench, { path }, files);
  await receiver.apply(awsServing(clock, 1));
  full = true;
  const failed: unknown = await receiver
    .apply(awsServing(clock, 2))
    .catch((error: unknown) => error);
  expect(failed).toMatchObject({
    code: "RECEIVER_FAILED",
    message: expect.stringContaining("the disk is full (ENOSPC)"),
  });
  for (const secret of secretsOf(2)) expect(inspect(failed, { depth: 9 })).not.toContain(secret);
  expect(readFileSync(path, "utf8")).toContain("session-token-1-hush");
  full = false;
  await receiver.apply(awsServing(clock, 3));
  expect(readFileSync(path, "utf8")).toContain("session-token-3-hush");
});

test("of credentials that come faster than the disk, only the newest is put in the file's place", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const path = join(bench.dir, "f");
  let renames = 0;
  const files: AtomicFiles = {
    open,
    async rename(from, to) {
      renames += 1;
      await rename(from, to);
    },
  };
  const receiver = await started(bench, { path }, files);
  await Promise.all([1, 2, 3, 4].map((n) => receiver.apply(awsServing(clock, n))));
  expect(readFileSync(path, "utf8")).toContain("session-token-4-hush");
  expect(renames).toBe(1);
});

test("the file is removed when its credential is withdrawn, unless it is to be kept", async () => {
  const clock = new ManualClock();
  for (const keepExpired of [false, true]) {
    const bench = receiverBench(clock);
    const path = join(bench.dir, "f");
    const receiver = await started(bench, { path, keepExpired });
    await receiver.apply(awsServing(clock, 1));
    await receiver.withdraw();
    expect(existsSync(path)).toBe(keepExpired);
  }
});

test("a stop leaves the file: consumers may go on with it", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const path = join(bench.dir, "f");
  const receiver = await started(bench, { path });
  await receiver.apply(awsServing(clock, 1));
  await receiver.stop();
  expect(existsSync(path)).toBe(true);
});

test("at the start, what a killed process left half-written is removed", async () => {
  const bench = receiverBench(new ManualClock());
  const path = join(bench.dir, "f");
  const leftOver = join(bench.dir, `.f.evergrant-${spawnSync("true").pid}-aa-1`);
  writeFileSync(leftOver, "half");
  await started(bench, { path });
  expect(existsSync(leftOver)).toBe(false);
});

test.each([
  [{ owner: "nobody-of-this-name" }, 'there is no user "nobody-of-this-name"'],
  [{ group: "nobody-of-this-name" }, 'there is no group "nobody-of-this-name"'],
  [{ templateFile: "/nonexistent/template" }, "/nonexistent/template cannot be read (ENOENT)"],
])("options %j fail the start with what is wrong", async (options, words) => {
  const bench = receiverBench(new ManualClock());
  await expect(started(bench, { path: join(bench.dir, "f"), ...options })).rejects.toMatchObject({
    code: "RECEIVER_FAILED",
    message: expect.stringContaining(words),
  });
});

test.each([
  [{}, "path"],
  [{ path: "relative" }, "path"],
  [{ path: "/a/" }, "path"],
  [{ path: "/a", mode: 600 }, "mode"],
  [{ path: "/a", mode: "0888" }, "mode"],
  [{ path: "/a", template: "$" + "{a b}" }, "template"],
  [{ path: "/a", template: "a", templateFile: "/b" }, "templateFile"],
  [{ path: "/a", owner: "a:b" }, "owner"],
])("options %j are refused", (options, path) => {
  const issues = fileFactory.options.safeParse(options).error?.issues ?? [];
  expect(issues.map((issue) => issue.path.join("."))).toEqual([path]);
});
