/** The demo as its users run it: real processes, no terminal, a path with spaces. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DemoReport } from "../../src/cli/demo/report.ts";
import { commandLine, isAlive } from "../../src/embedded/processes.ts";
import { readServersFile } from "../../src/embedded/servers-file.ts";
import { eventually } from "../support/eventually.ts";
import { evergrant } from "../support/evergrant-process.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "evergrant demo "));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const readReport = (name: string): DemoReport =>
  JSON.parse(readFileSync(join(dir, name), "utf8")) as DemoReport;

/** Processes of this machine whose command line names the folder. */
function processesOf(folder: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => Number(name))
    .filter((pid) => pid !== process.pid && isAlive(pid))
    .map((pid) => commandLine(pid) ?? "")
    .filter((line) => line.includes(folder));
}

function expectGood(report: DemoReport, agents: number): void {
  expect(report.faults).toEqual([]);
  expect(report).toMatchObject({ agents, longestGapMs: 0, refusedMessages: 0 });
  expect(report.issuerCalls).toBe(report.rotations.length);
  expect(report.rotations.map(({ generation }) => generation)).toEqual(
    report.rotations.map((_, index) => index + 1),
  );
  for (const rotation of report.rotations) {
    expect(rotation).toMatchObject({ provider: "lake", issuerCalls: 1, applied: agents });
    expect(rotation.missing).toEqual([]);
  }
  const reasons = report.rotations.map(({ reason }) => reason);
  expect(reasons.filter((reason) => reason === "initial")).toHaveLength(1);
  expect(reasons.filter((reason) => reason === "forced")).toHaveLength(1);
  expect(reasons.filter((reason) => reason === "scheduled").length).toBeGreaterThanOrEqual(2);
  // One in every 100 ms, and they were signed with what was rotated.
  expect(report.client.calls).toBeGreaterThan((report.durationMs / 1000) * 5);
  expect(report.credentialsUsed).toBeGreaterThanOrEqual(report.rotations.length - 2);
}

describe("evergrant demo", () => {
  it("shows rotations without a gap and leaves nothing behind, also twice at once", async () => {
    const demos = ["one", "two"].map((name) =>
      evergrant(
        [
          // Planned renewals after 12 s, and 12 s after the forced one in the middle; 4 s are left at each.
          ...["demo", "--duration", "34s", "--lifetime", "16s"],
          ...["--report", `${name}.json`, "--run-dir", `run ${name}`],
        ],
        { cwd: dir },
      ),
    );
    for (const demo of demos) expect(await demo.ended, demo.stdout() + demo.stderr()).toBe(0);
    expectGood(readReport("one.json"), 3);
    expectGood(readReport("two.json"), 3);
    for (const demo of demos) expect(demo.stdout()).toContain("forcing a rotation");
    expect(processesOf(dir)).toEqual([]);
  });

  it("keeps more agents than processes, and one issuer call for each rotation", async () => {
    const demo = evergrant(
      ["demo", "--agents", "40", "--duration", "25s", "--lifetime", "16s", "--json"],
      { cwd: dir },
    );
    expect(await demo.ended, demo.stderr()).toBe(0);
    const report = JSON.parse(demo.stdout()) as DemoReport;
    expect(report.issuerCalls).toBe(report.rotations.length);
    expect(report.rotations.at(-1)).toMatchObject({ applied: 40, missing: [] });
    const [, folder = ""] = /run folder (.+)/.exec(demo.stderr()) ?? [];
    expect(existsSync(folder)).toBe(false);
  });

  it("shows an AWS and a Google provider in one job, each called once for each of its generations", async () => {
    const demo = evergrant(
      ["demo", "--provider", "both", "--duration", "25s", "--lifetime", "16s", "--json"],
      { cwd: dir },
    );
    expect(await demo.ended, demo.stderr()).toBe(0);
    const report = JSON.parse(demo.stdout()) as DemoReport;
    expect(report).toMatchObject({ faults: [], longestGapMs: 0, refusedMessages: 0 });
    const providers = report.rotations.flatMap(({ provider }) => provider.split(","));
    expect(new Set(providers)).toEqual(new Set(["lake", "gcs"]));
    expect(report.issuerCalls).toBe(providers.length);
  });

  it.each(["SIGINT", "SIGTERM"] as const)("ends every process at %s", async (name) => {
    const demo = evergrant(["demo", "--run-dir", `run ${name}`], { cwd: dir });
    await demo.says("first credential applied");
    const servers = readServersFile(join(dir, `run ${name}`));
    expect(servers?.nats.pid).toBeGreaterThan(0);
    demo.signal(name);
    expect(await demo.ended).toBe(name === "SIGINT" ? 130 : 143);
    expect(processesOf(dir)).toEqual([]);
  });

  it("leaves no process behind even when it is killed", async () => {
    const demo = evergrant(["demo", "--run-dir", "run killed"], { cwd: dir });
    await demo.says("first credential applied");
    expect(processesOf(dir)).not.toEqual([]);
    demo.signal("SIGKILL");
    await demo.ended;
    await eventually(() => processesOf(dir).length === 0);
  });
});
