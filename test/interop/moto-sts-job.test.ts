/**
 * moto's STS as the issuer of a whole job: a coordinator with its own servers, two agents and an
 * operator as processes, and boto3 and the AWS CLI on what the agents serve.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectOperator, type OperatorClient } from "../../src/operator/operator-client.ts";
import type { RotationStatus } from "../../src/protocol/control.ts";
import { type CommandEnd, runToEnd } from "../contract/support/aws-consumers.ts";
import { eventually } from "../support/eventually.ts";
import { type EvergrantProcess, evergrant, runEvergrant } from "../support/evergrant-process.ts";
import { type Moto, startMoto } from "./support/moto.ts";
import { ACCOUNT, issuedKeys, openAccount, profileOf, ROLE } from "./support/moto-account.ts";
import { type PythonTools, pythonTools } from "./support/python.ts";

const AGENTS = ["worker-1", "worker-2"] as const;
const WHOAMI = fileURLToPath(new URL("support/whoami.py", import.meta.url));
const SESSION = `arn:aws:sts::${ACCOUNT}:assumed-role/lake/nightly`;

let dir: string;
let moto: Moto;
let program: PythonTools["program"];
let operator: OperatorClient | undefined;
const started: EvergrantProcess[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "evergrant moto job-"));
  ({ program } = await pythonTools());
  moto = await startMoto();
  const { driver, stranger } = await openAccount(moto);
  // From here on moto takes no key that it has not issued, and none without permission.
  await moto.check(true);
  await writeFile(join(dir, "base"), profileOf(driver));
  // On the consumers' host lies another identity, which moto knows as well.
  await writeFile(join(dir, "other"), profileOf(stranger).replace("[base]", "[default]"));
  const lake = {
    name: "lake",
    kind: "aws-sts",
    action: "AssumeRole",
    roleArn: ROLE,
    sessionName: "nightly",
    // The shortest that STS grants, renewed as early as can be configured: 72 s to 90 s after its issue.
    durationSec: 900,
    region: "eu-west-1",
    endpoint: moto.url,
    base: { profile: "base", credentialsFile: join(dir, "base"), configFile: join(dir, "none") },
  };
  // Jitter is a hash over the job's name, too: this one's third generation is renewed after 73 s.
  await writeFile(
    join(dir, "job.yaml"),
    JSON.stringify({ job: "lake", renewal: { ratio: 0.1 }, providers: [lake] }),
  );
  await writeFile(
    join(dir, "agent.yaml"),
    JSON.stringify({ receivers: [{ kind: "aws-container", provider: "lake" }] }),
  );
});
afterAll(async () => {
  await operator?.close();
  for (const child of started.reverse()) {
    child.signal("SIGTERM");
    await child.ended;
  }
  await moto?.stop();
  await rm(dir, { recursive: true, force: true });
});

async function start(...args: string[]): Promise<EvergrantProcess> {
  const child = evergrant([...args, "--json"], { cwd: dir });
  started.push(child);
  await child.says('"event":"ready"');
  return child;
}

/** A program on an agent's host, with what the agent wrote for its consumers as the last word. */
const consume = (agent: string, ...command: string[]): Promise<CommandEnd> =>
  runToEnd("sh", ["-c", `. "$0" && exec "$@"`, join(dir, `${agent}.env`), ...command], {
    PATH: process.env["PATH"],
    HOME: dir,
    AWS_SHARED_CREDENTIALS_FILE: join(dir, "other"),
    AWS_CONFIG_FILE: join(dir, "none"),
    AWS_ACCESS_KEY_ID: "AKIAOFTHEMACHINE0000",
    AWS_SECRET_ACCESS_KEY: "x",
    AWS_DEFAULT_REGION: "eu-west-1",
  });

/** Every agent hands this access key to boto3, and moto takes it for the role's session. */
async function expectServed(accessKey: string | undefined): Promise<void> {
  for (const agent of AGENTS) {
    const { stdout, stderr } = await consume(agent, program("python"), WHOAMI, moto.url);
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual({ accessKey, method: "container-role", arn: SESSION });
  }
}

/** Forces a rotation as an operator does. */
async function rotate(): Promise<RotationStatus> {
  const { code, stdout, stderr } = await runEvergrant(
    ["rotate", "--reason", "interop", "--wait", "--json"],
    { cwd: dir },
  );
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as RotationStatus;
}

test("moto's sessions reach boto3 on every agent through forced and scheduled rotations, one call for each", async () => {
  await start("coordinator", "--config", "job.yaml");
  for (const name of AGENTS) {
    const files = ["--config", "agent.yaml", "--env-file", `${name}.env`];
    await start("agent", "--join", "run/join.json", "--name", name, ...files);
  }
  operator = await connectOperator(join(dir, "run", "operator.json"));
  const keys = [(await issuedKeys(moto)).at(-1)];
  await expectServed(keys[0]);

  for (const generation of [2, 3]) {
    expect(await rotate()).toMatchObject({ state: "done", generation, applied: 2, missing: [] });
    keys.push((await issuedKeys(moto)).at(-1));
    await expectServed(keys.at(-1));
  }
  const newest = async () => (await operator?.status())?.rotations.at(-1);
  await eventually(async () => {
    const rotation = await newest();
    return rotation?.generation === 4 && rotation.state === "done";
  });
  expect(await newest()).toMatchObject({ reason: "scheduled", applied: 2, missing: [] });
  keys.push((await issuedKeys(moto)).at(-1));
  await expectServed(keys.at(-1));

  // The AWS CLI finds the same, and neither the host's profile nor its environment.
  for (const agent of AGENTS) {
    const caller = ["--endpoint-url", moto.url, "sts", "get-caller-identity"];
    const { stdout, stderr } = await consume(agent, program("aws"), ...caller);
    expect(JSON.parse(stdout), stderr).toMatchObject({ Account: ACCOUNT, Arn: SESSION });
  }
  // Moto's books and the coordinator's agree: four sessions, each by one call, all of them served.
  expect(new Set(keys).size).toBe(4);
  expect(await issuedKeys(moto)).toEqual(keys);
  const { rotations, providers } = await operator.status();
  expect(rotations.map(({ reason }) => reason)).toEqual([
    "initial",
    "forced",
    "forced",
    "scheduled",
  ]);
  expect(providers).toMatchObject([{ state: "fresh", generation: 4, issuerCalls: 4 }]);
});
