/**
 * README.md does what it says: every command in its `sh` blocks is run, in order, in terminals of its
 * own, with the AWS CLI as the consumer. Only `npm test` is not run from within itself.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { parseJobConfig } from "../../src/coordinator/config.ts";
import { freePort } from "../../src/embedded/answers.ts";
import { eventually } from "../support/eventually.ts";
import { blocksOf } from "../support/markdown.ts";
import { pythonTools } from "./support/python.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const README = readFileSync(join(ROOT, "README.md"), "utf8");

const BLOCKS = blocksOf(README);

/** The `sh` blocks under a heading. */
function shell(under: string): string[] {
  const found = BLOCKS.filter((block) => block.under === under && block.language === "sh");
  expect(found, `sh blocks under "${under}"`).not.toEqual([]);
  return found.map(({ text }) => text);
}

interface Terminal {
  readonly child: ChildProcess;
  /** All that it shows. */
  output(): string;
  stdout(): string;
  /** Ctrl-C: to the whole foreground group. Resolves with the exit code. */
  interrupt(): Promise<number | null>;
  readonly ended: Promise<number | null>;
}

let dir: string;
let bin: string;
let port: number;
const terminals: Terminal[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "evergrant readme "));
  bin = dirname((await pythonTools()).program("aws"));
  port = await freePort();
});
afterAll(async () => {
  for (const { child } of terminals) if (child.exitCode === null) signal(child, "SIGKILL");
  await Promise.all(terminals.map(({ ended }) => ended));
  rmSync(dir, { recursive: true, force: true });
});

/** The README's folder is this clone; here it is one of its own, so that nobody's `run` is touched. */
const PRELUDE = `evergrant() { "${process.execPath}" -- "${join(ROOT, "src/cli/main.ts")}" "$@"; }\n`;

/** As a shell does it with Ctrl-C: commands in the foreground share one process group. */
function terminal(script: string, cwd = dir, prelude = PRELUDE): Terminal {
  // The README's port may be taken on this machine.
  const text = script.replaceAll("4599", String(port));
  const child = spawn("sh", ["-e", "-c", `${prelude}${text}`], {
    cwd,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: `${bin}:${dirname(process.execPath)}:${process.env["PATH"]}`,
      HOME: dir,
    },
  });
  let output = "";
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
    stdout += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const opened: Terminal = {
    child,
    output: () => output,
    stdout: () => stdout,
    ended,
    async interrupt() {
      signal(child, "SIGINT");
      return await ended;
    },
  };
  terminals.push(opened);
  return opened;
}

function signal(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, name);
  } catch {
    // It has ended.
  }
}

/** Runs a script to its end, expects that it is a good one, and returns what it printed. */
async function run(script: string): Promise<string> {
  const { ended, output, stdout } = terminal(script);
  const code = await ended;
  expect(code, `${script}\n${output()}`).toBe(0);
  return stdout();
}

/** Waits for a line; a terminal that ends before fails with what it said. */
async function says(opened: Terminal, text: string): Promise<void> {
  await eventually(() => opened.output().includes(text) || opened.child.exitCode !== null);
  expect(opened.output()).toContain(text);
}

describe("README.md", () => {
  it("names scripts that there are", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    for (const line of shell("See it work")) {
      const [, name = ""] = /^npm (?:run )?(\w+)$/.exec(line) ?? [];
      expect(Object.keys(scripts)).toContain(name);
    }
  });

  it("shows configurations that hold", () => {
    const yaml = BLOCKS.filter(({ language }) => language === "yaml");
    expect(yaml).not.toEqual([]);
    for (const { text } of yaml) {
      expect(parse(text)).toBeTypeOf("object");
      expect(parseJobConfig(text, { dir }).job).toBe("etl");
    }
  });

  it("links to files that there are", () => {
    for (const [, target = ""] of README.matchAll(/\]\(([^)#:]+)\)/g)) {
      expect(() => readFileSync(join(ROOT, target)), target).not.toThrow("ENOENT");
    }
  });

  it("defines an evergrant that runs in this folder with whatever Node.js there is", async () => {
    const [define = ""] = shell("Use it");
    const { ended, output } = terminal(`${define}\nevergrant --version`, ROOT, "");
    expect(await ended, output()).toBe(0);
    expect(output()).toMatch(/^\d+\.\d+\.\d+$/m);
  });

  it("runs a demo that ends well", async () => {
    const { ended, output } = terminal("npm run demo", ROOT, "");
    expect(await ended, output()).toBe(0);
    expect(output()).toMatch(/longest gap without credential +0 ms/);
  });

  it("works in terminals as it says, through a restart of the coordinator", async () => {
    const [emulatorBlock = ""] = shell("To try without AWS");
    const [coordinatorBlock = ""] = shell("First terminal: the coordinator");
    const [agentBlock = ""] = shell("Second terminal: an agent");
    const [clientBlock = "", execBlock = ""] = shell("Third terminal: any AWS client");
    const [operatorBlock = ""] = shell("Operate it");

    const emulator = terminal(emulatorBlock);
    await says(emulator, "STS emulator at");
    // "It may be started before the coordinator."
    const agent = terminal(agentBlock);
    let coordinator = terminal(coordinatorBlock);
    await says(coordinator, "run/job.yaml is good");
    await says(coordinator, "ready: every credential is obtained");
    await says(agent, "ready: lake by aws-container");

    const caller = { Arn: expect.stringContaining("arn:aws:sts::123456789012:assumed-role/lake/") };
    expect(JSON.parse(await run(clientBlock))).toMatchObject(caller);
    expect(JSON.parse(await run(execBlock))).toMatchObject(caller);

    const before = JSON.parse(await run("evergrant status --json"));
    await coordinator.interrupt();
    // "Agents go on serving."
    expect(JSON.parse(await run(clientBlock))).toMatchObject(caller);
    coordinator = terminal(coordinatorBlock);
    await says(coordinator, "ready: every credential is obtained");
    const after = JSON.parse(await run("evergrant status --json"));
    expect(after.term).toBeGreaterThan(before.term);
    expect(after.providers[0].issuerCalls).toBe(before.providers[0].issuerCalls);

    // The agent comes back by itself.
    await eventually(async () => {
      const { agents } = JSON.parse(await run("evergrant agents --json"));
      return agents.some(({ state }: { state: string }) => state === "live");
    });
    const [, , rotate = "", ...rest] = operatorBlock.split("\n");
    expect(rotate).toContain("rotate");
    const operated = await run(operatorBlock);
    expect(rest).toHaveLength(2);
    expect(operated).toContain("worker-1");
    expect(operated).toContain("is done: generation");
    expect(operated).toContain("default/etl is ending");
    expect(await coordinator.ended).toBe(0);
    await agent.interrupt();
    await emulator.interrupt();
    // Each ended by itself, and none with a stack.
    for (const { output } of terminals) expect(output()).not.toMatch(/^ {4}at /m);
  });
});
