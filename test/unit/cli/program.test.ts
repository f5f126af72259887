import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildProgram } from "../../../src/cli/program.ts";
import { jobKeyFileSchema } from "../../../src/protocol/keys.ts";
import { cli, fakeIo } from "./fake-io.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "evergrant cli-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const GOOD_JOB = `
job: etl
providers:
  - {name: lake, kind: aws-sts, action: AssumeRole, roleArn: "arn:aws:iam::123456789012:role/lake", region: eu-west-1}
`;

describe("the command line", () => {
  it("says every exit code in the help of every subcommand that is not hidden", () => {
    const { io, printed } = fakeIo();
    const program = buildProgram(io, () => undefined);
    for (const command of program.commands) {
      printed.stdout = "";
      command.outputHelp();
      expect(printed.stdout, command.name()).toContain(
        "0 done, 1 failed, 2 usage or configuration, 3 agents missing, 4 no coordinator",
      );
    }
  });

  it.each([
    [["--help"], 0],
    [["--version"], 0],
    [["status", "--help"], 0],
    [[], 2],
    [["no-such-command"], 2],
    [["rotate"], 2],
    [["rotate", "--reason", "r", "--wait", "soon"], 2],
    [["rotate", "--reason", "r", "--provider", "a b"], 2],
    [["status", "--no-such-option"], 2],
    [["coordinator"], 2],
    [["agent", "--exec"], 2],
    [["agent", "stray"], 2],
    [["agent", "--join", "j.json", "--log-level", "loud"], 2],
    [["demo", "--agents", "0"], 2],
    [["demo", "--lifetime", "1s"], 2],
  ])("%j ends with %i", async (argv, code) => {
    expect((await cli(argv)).code).toBe(code);
  });

  it("says a failure in one sentence that starts with its code, and shows no stack", async () => {
    const { stderr, stdout } = await cli(["check", "--config", "absent.yaml"]);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^evergrant: \[FILE_UNUSABLE\] .+\n$/);
    expect(stderr).not.toContain("    at ");
  });
});

describe("the operator's file", () => {
  it("ends with 4 where no coordinator was started, naming the places to look at", async () => {
    const { code, stderr } = await cli(["status"], { workingDir: dir });
    expect(code).toBe(4);
    expect(stderr).toContain(join(dir, "run", "operator.json"));
    expect(stderr).toContain("EVERGRANT_OPERATOR_FILE");
  });

  it("is looked for where --operator says, else where the variable says", async () => {
    const env = { EVERGRANT_OPERATOR_FILE: "from-variable.json" };
    const named = await cli(["status", "--operator", "named.json"], { workingDir: dir, env });
    expect(named.stderr).toContain("named.json");
    const byVariable = await cli(["status"], { workingDir: dir, env });
    expect(byVariable.stderr).toContain("from-variable.json");
    expect(byVariable.code).toBe(1);
  });

  it("is refused when it is something else, without showing what is in it", async () => {
    const path = join(dir, "operator.json");
    await writeFile(path, JSON.stringify({ version: 1, key: "hunter2" }));
    const { code, stderr } = await cli(["status", "--operator", path]);
    expect(code).toBe(1);
    expect(stderr).toContain("FILE_UNUSABLE");
    expect(stderr).not.toContain("hunter2");
  });
});

describe("evergrant check", () => {
  const check = async (text: string, ...more: string[]) => {
    const path = join(dir, "c.yaml");
    await writeFile(path, text);
    return await cli(["check", "--config", path, ...more]);
  };

  it("ends with 0 for a good job and a good agent", async () => {
    expect(await check(GOOD_JOB)).toMatchObject({ code: 0, stderr: "" });
    const agent = await check(
      "receivers:\n  - {kind: aws-container, provider: lake, port: 9911}\n",
    );
    expect(agent).toMatchObject({ code: 0, stderr: "" });
    expect(agent.stdout).toContain("1 receiver");
  });

  it("ends with 2 and names all faults of a job at once, each with its path", async () => {
    const bad = `${GOOD_JOB}renewal: {ratio: 1.2}\nunknown: 1\n`;
    const { code, stderr } = await check(bad);
    expect(code).toBe(2);
    expect(stderr).toContain("renewal.ratio");
    expect(stderr).toContain("unknown");
  });

  it("judges the options of providers and receivers, too", async () => {
    const job = await check(GOOD_JOB.replace("region: eu-west-1", "durationSec: 60"));
    expect(job.code).toBe(2);
    expect(job.stderr).toContain("providers.0.durationSec");
    expect(job.stderr).toContain("providers.0.region");
    const agent = await check("receivers:\n  - {kind: aws-container, provider: lake, port: 0}\n");
    expect(agent.code).toBe(2);
    expect(agent.stderr).toContain("receivers.0.port");
  });

  it("prints its judgement as JSON where asked to", async () => {
    expect(JSON.parse((await check(GOOD_JOB, "--json")).stdout)).toMatchObject({ ok: true });
    const bad = await check("job: x\nproviders: []\n", "--json");
    expect(bad.code).toBe(2);
    expect(JSON.parse(bad.stdout)).toMatchObject({ ok: false, code: "CONFIG_INVALID" });
  });

  it("says where text is no YAML", async () => {
    const { code, stderr } = await check("receivers: [\n");
    expect(code).toBe(2);
    expect(stderr).toMatch(/line \d+/);
  });
});

describe("key files", () => {
  it("are made private, and never overwritten", async () => {
    const out = join(dir, "job-key.json");
    const made = await cli(["job-key", "--job", "etl", "--out", out]);
    expect(made.code).toBe(0);
    expect((await stat(out)).mode & 0o777).toBe(0o600);
    const before = await readFile(out, "utf8");
    const again = await cli(["job-key", "--job", "etl", "--out", out]);
    expect(again.code).toBe(1);
    expect(await readFile(out, "utf8")).toBe(before);
    for (const secret of before.match(/"d": "[^"]+"/g) ?? []) {
      expect(made.stdout).not.toContain(secret.slice(6, -1));
    }
  });

  it("are rotated in two steps: a new set that only opens, then the first; three are kept", async () => {
    const out = join(dir, "job-key.json");
    const run = (...flags: string[]) => cli(["job-key", "--job", "etl", "--out", out, ...flags]);
    const kids = async (): Promise<string[]> => {
      const { sets } = jobKeyFileSchema.parse(JSON.parse(await readFile(out, "utf8")));
      return sets.map(({ signing }) => signing.kid);
    };
    expect((await run("--rotate")).code).toBe(1);
    await run();
    const [a] = await kids();
    expect((await run("--promote")).stderr).toContain("no new key set");
    expect((await run("--rotate")).code).toBe(0);
    const [, b] = await kids();
    expect(await kids()).toEqual([a, b]);
    expect((await run("--rotate")).stderr).toContain("not promoted yet");
    expect((await run("--promote")).stdout).toContain("restart all coordinators of default/etl");
    expect(await kids()).toEqual([b, a]);
    for (const step of ["--rotate", "--promote", "--rotate"]) await run(step);
    const all = await kids();
    expect(all.slice(2)).toEqual([b]);
    expect(new Set([...all, a]).size).toBe(4);
    expect((await stat(out)).mode & 0o777).toBe(0o600);
    expect((await run("--rotate", "--promote")).code).toBe(2);
  });

  it("let join files be made for servers that the configuration names", async () => {
    const config = join(dir, "job.yaml");
    await writeFile(config, `${GOOD_JOB}nats: {servers: ["nats://broker.example:4222"]}\n`);
    await cli(["job-key", "--job", "etl", "--out", join(dir, "run", "job-key.json")]);
    const { code, stdout } = await cli(["join", "--config", config, "--out", "-", "--ttl", "1h"]);
    expect(code).toBe(0);
    const file = JSON.parse(stdout);
    expect(file).toMatchObject({
      version: 1,
      tenant: "default",
      job: "etl",
      nats: { servers: ["nats://broker.example:4222"] },
    });
    expect(JSON.stringify(file)).not.toContain('"d"');
  });

  it("do not suffice for a join file where the servers are a coordinator's own", async () => {
    const config = join(dir, "job.yaml");
    await writeFile(config, GOOD_JOB);
    await cli(["job-key", "--job", "etl", "--out", join(dir, "run", "job-key.json")]);
    const { code, stderr } = await cli(["join", "--config", config, "--out", "-"]);
    expect(code).toBe(4);
    expect(stderr).toContain("join.json");
  });
});
