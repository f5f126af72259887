/** `evergrant watch` on a real job: redrawn in a terminal, a line for each change elsewhere, until Ctrl-C. */
import { beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../../../src/cli/program.ts";
import { eventually } from "../../support/eventually.ts";
import { FAST, generationAt, startJobRig } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";
import { cli, fakeIo } from "../../unit/cli/fake-io.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

/** Clears the terminal and begins again at its top. */
const REDRAWN = "\u001b[H\u001b[2J";

async function watchedJob(job: string) {
  const rig = await startJobRig({ nats, redis, job, lifetimeMs: 600_000, yaml: FAST });
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const agent = await rig.agent({ name: "executor-1" });
  await generationAt(agent, 1);
  const operator = ["--operator", coordinator.operatorFile];
  return { coordinator, operator, rotate: () => cli(["rotate", "--reason", "drill", ...operator]) };
}

function watch(args: readonly string[], terminal: boolean) {
  const { io, printed, signals } = fakeIo({ terminal });
  const ended = runCli(["watch", "--every", "200ms", ...args], io);
  return { printed, ended, interrupt: () => signals.emit("SIGINT", "SIGINT") };
}

describe("evergrant watch", () => {
  it("draws status and agents anew in a terminal, and ends with 0 at Ctrl-C", async () => {
    const { operator, rotate } = await watchedJob("watch-terminal");
    const { printed, ended, interrupt } = watch(operator, true);
    const last = (): string => printed.stdout.split(REDRAWN).at(-1) ?? "";
    await eventually(() => /lake\s+aws-sts\s+\w+\s+1\b/.test(last()) && /executor-1/.test(last()));
    expect((await rotate()).code).toBe(0);
    await eventually(() => /lake\s+aws-sts\s+\w+\s+2\b/.test(last()) && /forced/.test(last()));
    interrupt();
    expect(await ended).toBe(0);
    expect(printed.stderr).toBe("");
    // Each screen begins with the clearing of the last: nothing is left between them.
    expect(printed.stdout.startsWith(REDRAWN)).toBe(true);
  });

  it("prints a line for each change where there is no terminal, and none without", async () => {
    const { operator, rotate } = await watchedJob("watch-lines");
    const { printed, ended, interrupt } = watch(operator, false);
    const lines = (): string[] => printed.stdout.split("\n").filter((line) => line !== "");
    await eventually(() => lines().length > 0);
    await rotate();
    await eventually(() => /lake \w+ g2; agents 1\/1 up to date/.test(lines().at(-1) ?? ""));
    interrupt();
    expect(await ended).toBe(0);
    expect(printed.stdout).not.toContain("\u001b");
    const said = lines().map((line) => line.slice(line.indexOf(" ") + 1));
    expect(said).toEqual(said.filter((line, at) => line !== said[at - 1]));
  });

  it("gives a JSON document at each look with --json, and goes on while no coordinator answers", async () => {
    const { coordinator, operator } = await watchedJob("watch-json");
    const { printed, ended, interrupt } = watch([...operator, "--json"], true);
    const seen = (): { status?: { generation: number }; agents?: unknown[]; silent?: string }[] =>
      printed.stdout
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line));
    await eventually(() => seen().length > 1);
    expect(seen().at(-1)).toMatchObject({ status: { generation: 1 }, agents: [{}] });
    await coordinator.handOver();
    await eventually(() => seen().at(-1)?.silent !== undefined);
    interrupt();
    expect(await ended).toBe(0);
  });
});
