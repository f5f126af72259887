import { EventEmitter } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { FORWARDED_SIGNALS, startChild } from "../../../src/worker-agent/consumer/exec-child.ts";
import { eventually } from "../../support/eventually.ts";

const PATH = process.env["PATH"] ?? "";
const folder = (): string => {
  const dir = mkdtempSync(join(tmpdir(), "evergrant-child-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};
const signals = (): NodeJS.Process => new EventEmitter() as unknown as NodeJS.Process;

test("the child has exactly the environment that it is given", async () => {
  const out = join(folder(), "out");
  const env = { PATH, ONLY: "this one" };
  const child = startChild({ command: ["sh", "-c", `env > ${out}`], env });
  expect(await child.ended).toEqual({ exitCode: 0 });
  expect(readFileSync(out, "utf8")).toContain("ONLY=this one\n");
  expect(readFileSync(out, "utf8")).not.toContain("HOME=");
});

test.each([
  ["exit 0", 0],
  ["exit 7", 7],
  ["kill -TERM $$", 143],
  ["kill -KILL $$", 137],
])("a child that does %j ends with %i", async (script, exitCode) => {
  const child = startChild({ command: ["sh", "-c", script], env: { PATH } });
  expect(await child.ended).toEqual({ exitCode });
});

test("a command that is not there ends with 127, one that cannot be executed with 126", async () => {
  const dir = folder();
  const plain = join(dir, "plain");
  writeFileSync(plain, "x");
  const endOf = (program: string) => startChild({ command: [program], env: { PATH } }).ended;
  expect(await endOf("no-such-command-here")).toEqual({
    exitCode: 127,
    message: "no-such-command-here: command not found",
  });
  expect(await endOf(plain)).toMatchObject({
    exitCode: 126,
    message: expect.stringMatching(/EACCES/),
  });
  expect((await endOf(dir)).exitCode).toBe(126);
});

test.each(FORWARDED_SIGNALS)(
  "%s reaches the child, and no listener is left behind",
  async (name) => {
    const ready = join(folder(), "ready");
    const source = signals();
    const script = `trap 'exit 42' ${name.slice(3)}; : > ${ready}; while :; do sleep 0.05; done`;
    const child = startChild({
      command: ["sh", "-c", script],
      env: { PATH },
      signals: source,
      sharesTerminal: () => false,
    });
    onTestFinished(() => void child.signal("SIGKILL"));
    await eventually(() => existsSync(ready));
    source.emit(name);
    expect(await child.ended).toEqual({ exitCode: 42 });
    expect(source.listenerCount(name)).toBe(0);
  },
);

test("Ctrl-C is not doubled where the terminal has sent it to the child as well; SIGTERM still goes on", async () => {
  const dir = folder();
  const source = signals();
  const script = `trap 'echo int >> ${dir}/got' INT; trap 'exit 9' TERM; : > ${dir}/ready; while :; do sleep 0.05; done`;
  const child = startChild({
    command: ["sh", "-c", script],
    env: { PATH },
    signals: source,
    sharesTerminal: () => true,
  });
  onTestFinished(() => void child.signal("SIGKILL"));
  await eventually(() => existsSync(join(dir, "ready")));
  source.emit("SIGINT");
  source.emit("SIGTERM");
  expect(await child.ended).toEqual({ exitCode: 9 });
  expect(existsSync(join(dir, "got"))).toBe(false);
});
