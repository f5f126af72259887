/** The commands of driver, executor and operator as processes, with their signals and exit codes. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type StsEmulator, startStsEmulator } from "../../src/emulators/aws-sts/server.ts";
import type { AgentStatus, JobStatus, RotationStatus } from "../../src/protocol/control.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import { eventually } from "../support/eventually.ts";
import {
  type EvergrantProcess,
  evergrant,
  evergrantArgs,
  runEvergrant,
  startProcess,
} from "../support/evergrant-process.ts";
import { FAST } from "../support/job-rig.ts";

let sts: StsEmulator;
let dir: string;
const ours: EvergrantProcess[] = [];

beforeAll(async () => {
  sts = await startStsEmulator({ clock: systemClock, random: systemRandom });
});
afterAll(() => sts.stop());

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "evergrant cli "));
  const { accessKeyId, secretAccessKey } = sts.baseCredentials;
  writeFileSync(
    join(dir, "base"),
    `[default]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey.reveal()}\n`,
  );
  const provider = {
    name: "lake",
    kind: "aws-sts",
    action: "AssumeRole",
    roleArn: "arn:aws:iam::123456789012:role/lake",
    region: "eu-west-1",
    endpoint: sts.url,
    callTimeoutSec: 3,
    base: { profile: "default", credentialsFile: join(dir, "base") },
  };
  writeFileSync(
    join(dir, "job.yaml"),
    `job: etl\n${FAST}\nproviders:\n  - ${JSON.stringify(provider)}\n`,
  );
});
afterEach(async () => {
  for (const child of ours.splice(0).reverse()) {
    child.signal("SIGTERM");
    await child.ended;
  }
  rmSync(dir, { recursive: true, force: true });
});

function start(...args: string[]): EvergrantProcess {
  const child = evergrant(args, { cwd: dir });
  ours.push(child);
  return child;
}
const run = (...args: string[]) => runEvergrant(args, { cwd: dir });

async function coordinator(...more: string[]): Promise<EvergrantProcess> {
  const child = start("coordinator", "--config", "job.yaml", "--json", ...more);
  await child.says('"event":"ready"');
  return child;
}

async function agent(name: string): Promise<EvergrantProcess> {
  const child = start("agent", "--join", "run/join.json", "--name", name, "--json");
  await child.says('"event":"ready"');
  return child;
}

const status = async (): Promise<JobStatus> => JSON.parse((await run("status", "--json")).stdout);
const calls = () => sts.count("AssumeRole");

describe("evergrant coordinator", () => {
  it("hands over at SIGTERM, and the next one adopts what is there without an issuer call", async () => {
    const before = calls();
    const first = await coordinator();
    for (const file of ["job-key.json", "join.json", "operator.json", "servers.json"]) {
      expect(statSync(join(dir, "run", file)).mode & 0o777, file).toBe(0o600);
    }
    first.signal("SIGTERM");
    expect(await first.ended).toBe(0);
    expect(first.stdout()).toContain('"event":"handed-over"');
    await coordinator();
    expect(await status()).toMatchObject({ ready: true, generation: 1 });
    expect(calls()).toBe(before + 1);
  });

  it("ends the job with its parent under --with-parent", async () => {
    const child = evergrant(["coordinator", "--config", "job.yaml", "--with-parent", "--json"], {
      cwd: dir,
      stdin: "pipe",
    });
    ours.push(child);
    await child.says('"event":"ready"');
    child.closeStdin();
    expect(await child.ended).toBe(0);
    expect(child.stdout()).toContain('"event":"ended"');
  });

  it("ends the job when the driver that started it is killed, though its stdin says nothing", async () => {
    const script = `"$@" & echo $!; wait`;
    const command = [process.execPath, ...evergrantArgs("coordinator", "--config", "job.yaml")];
    const driver = startProcess("sh", ["-c", script, "sh", ...command, "--with-parent"], {
      cwd: dir,
    });
    await driver.says("ready:");
    driver.signal("SIGKILL");
    await driver.ended;
    // Its pipe to us is closed by its own end.
    expect(driver.stdout()).toContain("the job is ended");
  });

  it("says a configuration's faults and ends with 2, and starts nothing", async () => {
    writeFileSync(join(dir, "job.yaml"), "job: etl\nrenewal: {ratio: 1.2}\nproviders: []\n");
    const { code, stderr } = await run("coordinator", "--config", "job.yaml");
    expect(code).toBe(2);
    expect(stderr).toContain("renewal.ratio");
    expect(stderr).toContain("providers");
    expect(() => statSync(join(dir, "run"))).toThrow("ENOENT");
  });
});

describe("evergrant agent", () => {
  it("waits for its join file, and says when there is none in time", async () => {
    const late = start("agent", "--join", "run/join.json", "--name", "early", "--json");
    await coordinator();
    await late.says('"event":"ready"');
    const { code, stderr } = await run("agent", "--join", "nowhere.json", "--start-timeout", "1s");
    expect(code).toBe(1);
    expect(stderr).toContain("[START_TIMEOUT]");
  });

  it("starts a command once credentials are applied, and ends with its exit code", async () => {
    await coordinator();
    const script = `test -s "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" && test -z "$AWS_PROFILE" && echo "$AWS_CONTAINER_CREDENTIALS_FULL_URI" && exit 7`;
    const child = await runEvergrant(
      ["agent", "--join", "run/join.json", "--exec", "--", "sh", "-c", script],
      { cwd: dir, env: { AWS_PROFILE: "mine" } },
    );
    expect(child.code, child.stderr).toBe(7);
    expect(child.stdout).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/\S+\n$/);
    const absent = await run("agent", "--join", "run/join.json", "--exec", "--", "no-such-program");
    expect(absent.code).toBe(127);
  });

  it("forwards signals to its command", async () => {
    await coordinator();
    const script = `trap "echo caught; exit 5" TERM; echo up; while :; do sleep 0.1; done`;
    const child = start("agent", "--join", "run/join.json", "--exec", "--", "sh", "-c", script);
    await child.says("up");
    child.signal("SIGTERM");
    expect(await child.ended).toBe(5);
    expect(child.stdout()).toContain("caught");
  });

  it("does not start the command when it is told to stop before", async () => {
    const options = ["--join", "nowhere.json", "--log-level", "info", "--exec"];
    const child = start("agent", ...options, "--", "echo", "started");
    await eventually(() => child.stderr().includes("waiting for the join file"));
    child.signal("SIGTERM");
    expect(await child.ended).toBe(143);
    expect(child.stdout()).not.toContain("started");
  });

  it("writes an environment that a shell takes", async () => {
    await coordinator();
    const child = start("agent", "--join", "run/join.json", "--env-file", "a b.env", "--json");
    await child.says('"event":"ready"');
    expect(statSync(join(dir, "a b.env")).mode & 0o777).toBe(0o600);
    const text = readFileSync(join(dir, "a b.env"), "utf8");
    expect(text).toMatch(/^export AWS_CONTAINER_CREDENTIALS_FULL_URI='http:/m);
    expect(text).toMatch(/^unset AWS_ACCESS_KEY_ID$/m);
  });
});

describe("the operator", () => {
  it("forces a rotation that every agent applies, and counts one issuer call", async () => {
    await coordinator();
    await Promise.all([agent("a"), agent("b")]);
    const before = calls();
    const { code, stdout } = await run("rotate", "--reason", "test", "--wait", "30s", "--json");
    expect(code).toBe(0);
    const rotation = JSON.parse(stdout) as RotationStatus;
    expect(rotation).toMatchObject({ state: "done", reason: "forced", applied: 2, missing: [] });
    expect(calls()).toBe(before + 1);
    const { agents } = JSON.parse((await run("agents", "--json")).stdout) as {
      agents: AgentStatus[];
    };
    expect(agents.map(({ agent: name, generation }) => [name, generation]).sort()).toEqual([
      ["a", rotation.generation],
      ["b", rotation.generation],
    ]);
  });

  it("is told who is missing, and ends with 3", async () => {
    // A frozen agent must still count as alive when the time is over.
    const config = readFileSync(join(dir, "job.yaml"), "utf8");
    writeFileSync(join(dir, "job.yaml"), config.replace("lostSec: 3", "lostSec: 60"));
    await coordinator();
    await agent("quick");
    const frozen = await agent("frozen");
    frozen.signal("SIGSTOP");
    // Time enough for the call and the other one's ack on a machine that stands still for a while.
    const { code, stdout } = await run("rotate", "--reason", "test", "--wait", "8s", "--json");
    frozen.signal("SIGCONT");
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({ state: "delivering", missing: ["frozen"] });
  });

  it("is refused an unknown provider, and ends with 2", async () => {
    await coordinator();
    const { code, stderr } = await run("rotate", "--provider", "sea", "--reason", "test");
    expect(code).toBe(2);
    expect(stderr).toContain("no provider sea");
  });

  it("waits through a handover in the middle of a rotation", async () => {
    // The slow call must not end by its time: the coordinator that hands over records its answer.
    const config = readFileSync(join(dir, "job.yaml"), "utf8");
    writeFileSync(
      join(dir, "job.yaml"),
      config
        .replace("leaseTtlSec: 6", "leaseTtlSec: 20")
        .replace('"callTimeoutSec":3', '"callTimeoutSec":10'),
    );
    const first = await coordinator();
    await agent("a");
    // A slow issuer, so that the handover falls into the rotation.
    sts.knobs.latencyMs = 1500;
    const waiting = run("rotate", "--reason", "test", "--wait", "60s", "--json");
    const before = calls();
    await eventually(() => calls() > before);
    first.signal("SIGTERM");
    expect(await first.ended).toBe(0);
    sts.knobs.latencyMs = 0;
    await coordinator();
    const { code, stdout, stderr } = await waiting;
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ state: "done", generation: 2, missing: [] });
    expect(calls()).toBe(before + 1);
  });

  it("ends the job; after that there is no coordinator, and that is 4", async () => {
    const running = await coordinator();
    expect(await run("end")).toMatchObject({ code: 0 });
    expect(await running.ended).toBe(0);
    for (const command of [["status"], ["agents"], ["end"], ["rotate", "--reason", "x"]]) {
      const { code, stderr } = await run(...command);
      expect([command[0], code]).toEqual([command[0], 4]);
      expect(stderr).toContain("[NO_COORDINATOR]");
    }
  });

  it("watches without a terminal in plain lines, one for each change", async () => {
    await coordinator();
    const watching = start("watch", "--every", "200ms");
    await watching.says("lake fresh g1");
    await run("rotate", "--reason", "test", "--wait", "30s");
    await watching.says("lake fresh g2");
    watching.signal("SIGINT");
    expect(await watching.ended).toBe(0);
    const lines = watching.stdout().trimEnd().split("\n");
    expect(lines.length).toBeLessThan(10);
    expect(watching.stdout()).not.toContain("\u001b");
  });

  it("may be one more, by a key of its own in the configuration", async () => {
    const first = await coordinator();
    const made = await run("operator-key", "--name", "alice", "--json");
    expect(made.code, made.stderr).toBe(0);
    expect(statSync(join(dir, "alice.operator.json")).mode & 0o777).toBe(0o600);
    const stranger = await run("status", "--operator", "alice.operator.json");
    expect(stranger.code).not.toBe(0);
    const { operators } = JSON.parse(made.stdout);
    const config = readFileSync(join(dir, "job.yaml"), "utf8");
    writeFileSync(join(dir, "job.yaml"), `operators: ${JSON.stringify(operators)}\n${config}`);
    first.signal("SIGTERM");
    await first.ended;
    await coordinator();
    const known = await run("status", "--operator", "alice.operator.json", "--json");
    expect(known.code, known.stderr).toBe(0);
  });
});
