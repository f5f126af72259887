/** The first start in a fresh clone: interrupted and begun again, without root, and where servers can't be had. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { DemoReport } from "../../src/cli/demo/report.ts";
import {
  type CommandOptions,
  freshClone,
  machinePath,
  processesIn,
  startIn,
} from "../support/fresh-clone.ts";
import { ROOT } from "../support/packed-package.ts";

const DEMO = ["run", "demo", "--", "--duration", "5s", "--report", "r.json"];

const demo = (dir: string, options?: CommandOptions) => startIn(dir, "npm", DEMO, options);

const entries = (...path: string[]): string[] =>
  existsSync(join(...path)) ? readdirSync(join(...path)) : [];

/** npm's own record of an installed tree: its last act. */
const isInstalled = (...folder: string[]): boolean =>
  existsSync(join(...folder, "node_modules", ".package-lock.json"));

function expectGoodDemo(dir: string): void {
  const report = JSON.parse(readFileSync(join(dir, "r.json"), "utf8")) as DemoReport;
  expect(report).toMatchObject({ agents: 3, faults: [], refusedMessages: 0 });
  expect(report.rotations.map(({ reason }) => reason)).toContain("forced");
  expect(processesIn(dir)).toEqual([]);
}

describe("the first start in a fresh clone", () => {
  it("goes on after Ctrl-C while Node.js and then the packages are being installed", async () => {
    const dir = freshClone("setup");
    const runtime = join(dir, "tools", "node");
    const moments = [
      { folder: runtime, begun: () => entries(runtime, "node_modules").length > 0 },
      { folder: dir, begun: () => entries(dir, "node_modules").length > 20 },
    ];
    for (const { folder, begun } of moments) {
      const first = demo(dir);
      await first.until(begun);
      first.interrupt();
      expect(await first.ended, first.output()).toBe(130);
      // It was met in the middle, says what happened, and is gone with all that it had started.
      expect(isInstalled(folder)).toBe(false);
      expect(first.output()).toMatch(/^set-up: SIGINT: ending (Node\.js 24|packages)$/m);
      expect(first.output()).toContain(
        "set-up: interrupted by SIGINT; the next start goes on from here\n",
      );
      expect(first.output()).not.toMatch(/^ {4}at |^ *STS emulator/m);
      expect(processesIn(dir)).toEqual([]);
    }
    const second = demo(dir);
    expect(await second.ended, second.output()).toBe(0);
    // What the one before had finished is not done again.
    expect(second.output()).not.toContain("set-up: Node.js 24");
    expect(second.output()).toContain("set-up: done\n");
    expectGoodDemo(dir);
    // From now on there is nothing to set up.
    const again = startIn(dir, "node", ["setup.mjs"]);
    expect([await again.ended, again.output()]).toEqual([0, ""]);
  });

  it("needs no root, no terminal, no home, and no server of the machine", async () => {
    const dir = freshClone("nobody");
    // Who is not root already runs it as what is claimed.
    const uid = process.getuid?.() === 0 ? 65_534 : process.getuid?.();
    execFileSync("chown", ["-R", `${uid}`, dir]);
    const env = { HOME: "/nonexistent", EVERGRANT_SERVERS: "private" };
    const child = demo(dir, { env, uid });
    expect(await child.ended, child.output()).toBe(0);
    for (const name of ["nats-server", "redis-server"]) {
      expect(child.output()).toContain(`set-up: ${name}: unpacking the distribution's package`);
      expect(statSync(join(dir, ".evergrant/servers/bin", name)).uid).toBe(uid);
    }
    expectGoodDemo(dir);
    expect(existsSync(env.HOME)).toBe(false);
  });

  it("says in one sentence that servers are missing where it can't install them", async () => {
    const dir = freshClone("bare");
    for (const modules of ["node_modules", "tools/node/node_modules"]) {
      symlinkSync(join(ROOT, modules), join(dir, modules));
    }
    // A machine with Node.js and nothing else: neither servers nor what would install them.
    const bin = join(dir, "bin only");
    mkdirSync(bin);
    const node = machinePath()
      .split(":")
      .map((folder) => join(folder, "node"))
      .find((path) => existsSync(path));
    symlinkSync(node ?? process.execPath, join(bin, "node"));
    const env = { PATH: bin, EVERGRANT_SERVERS: "private" };

    const setup = startIn(dir, "node", ["setup.mjs", "--", "src/cli/main.ts", "demo"], { env });
    expect(await setup.ended).toBe(2);
    expect(setup.output().split("\n").slice(1)).toEqual([
      "set-up: nats-server and redis-server could not be installed here: install them by hand (any version of the last years will do) and run this again.",
      "",
    ]);

    // Nor does a coordinator that was to start its own.
    const role = "arn:aws:iam::123456789012:role/lake";
    const lake = { name: "lake", kind: "aws-sts", action: "AssumeRole", roleArn: role };
    writeFileSync(
      join(dir, "job.yaml"),
      JSON.stringify({ job: "etl", providers: [{ ...lake, region: "eu-west-1" }] }),
    );
    const coordinator = startIn(
      dir,
      process.execPath,
      ["src/cli/main.ts", "coordinator", "--config", "job.yaml"],
      { env },
    );
    expect(await coordinator.ended).toBe(1);
    expect(coordinator.output()).toBe(
      "evergrant: [SERVER_START_FAILED] nats-server and redis-server are not installed: install your system's packages of these names, or name servers in the configuration\n",
    );
    expect(processesIn(dir)).toEqual([]);
  });
});
