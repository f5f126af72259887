import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { systemRandom } from "../../../src/runtime/system-clock.ts";
import { envFileText, writeEnvFile } from "../../../src/worker-agent/consumer/env-file.ts";

const folder = (): string => {
  const dir = mkdtempSync(join(tmpdir(), "evergrant-env-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};

test("the lines are sorted, quoted, and removals come first", () => {
  const text = envFileText({ set: { B: "it's", A: "a b" }, unset: ["Z", "Y"] });
  expect(text).toBe("unset Y\nunset Z\nexport A='a b'\nexport B='it'\\''s'\n");
});

test("a shell that reads the file has the values as they were, and not what is removed", async () => {
  const path = join(folder(), "with a blank.env");
  const value = "a 'b' \"c\" $(id) `id`\n\\ $HOME";
  await writeEnvFile(
    path,
    { set: { V: value, NO_PROXY: "127.0.0.1" }, unset: ["KEY"] },
    systemRandom,
  );
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const read = (name: string): string =>
    execFileSync("sh", ["-c", `. "$1"; printenv ${name} || echo gone`, "sh", path], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"], KEY: "static", NO_PROXY: "corp.example" },
    });
  expect(read("V")).toBe(`${value}\n`);
  expect(read("KEY")).toBe("gone\n");
  expect(read("NO_PROXY")).toBe("corp.example,127.0.0.1\n");
});

test("a name that is no variable is refused", () => {
  expect(() => envFileText({ set: { "A;id": "x" }, unset: [] })).toThrow("[CONFIG_INVALID]");
  expect(() => envFileText({ set: {}, unset: ["A B"] })).toThrow("[CONFIG_INVALID]");
});

test("a file that cannot be written says so", async () => {
  const path = join(folder(), "missing", "f");
  const environment = { set: {}, unset: [] };
  await expect(writeEnvFile(path, environment, systemRandom)).rejects.toMatchObject({
    code: "FILE_UNUSABLE",
    message: expect.stringContaining("cannot be written (ENOENT)"),
  });
});
