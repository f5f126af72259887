/** boto3 and the AWS CLI on an agent that has joined a real job: issuer, coordinator, NATS and Redis behind it. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { connectOperator } from "../../src/operator/operator-client.ts";
import { seconds } from "../../src/protocol/time.ts";
import type { Agent } from "../../src/worker-agent/agent.ts";
import { appliedTo } from "../../src/worker-agent/consumer/environment.ts";
import { runToEnd } from "../contract/support/aws-consumers.ts";
import { startAwsService } from "../support/aws-service.ts";
import { eventually } from "../support/eventually.ts";
import { generationAt, type JobRig, startJobRig } from "../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { startBoto3 } from "./support/boto3.ts";
import { type PythonTools, pythonTools } from "./support/python.ts";

/** Inside of this much remaining life botocore asks again at every signing. */
const WINDOW_MS = 15 * 60_000;

let program: PythonTools["program"];
let nats: TestServer;
let redis: TestServer;
beforeAll(async () => {
  [{ program }, nats, redis] = await Promise.all([pythonTools(), startNats(), startRedis()]);
});

const CONVENTIONS = ["aws-container", "aws-process"] as const;
type Convention = (typeof CONVENTIONS)[number];

/** An agent of a real job with one receiver, and the environment of a consumer on its host. */
async function startedAgent(convention: Convention, lifetimeMs: number) {
  const rig = await startJobRig({
    nats,
    redis,
    job: `e2e-${convention}-${lifetimeMs}`,
    lifetimeMs,
  });
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const operator = await connectOperator(coordinator.operatorFile);
  rig.atEnd(() => operator.close());
  const own = convention === "aws-process" ? { configFile: join(rig.dir, "aws", "config") } : {};
  const agent = await rig.sidecar({
    config: {
      status: { port: 0 },
      receivers: [{ kind: convention, provider: "lake", ...own }],
    },
  });
  await agent.ready(10_000);
  const home = join(rig.dir, "home");
  await mkdir(join(home, ".aws"), { recursive: true });
  // Another identity in every place that would outrank ours.
  await writeFile(
    join(home, ".aws", "credentials"),
    "[default]\naws_access_key_id = AKIAOFTHEPROFILE0000\naws_secret_access_key = x\n",
  );
  const environment = agent.environments()[0]?.environment;
  if (environment === undefined) throw new Error("the receiver has not started");
  const consumer = appliedTo(
    {
      PATH: process.env["PATH"],
      HOME: home,
      AWS_ACCESS_KEY_ID: "AKIAOFTHEMACHINE0000",
      AWS_SECRET_ACCESS_KEY: "x",
    },
    environment,
  );
  const watcher = await rig.agent();
  await generationAt(watcher, 1);
  /** Forces a rotation and returns once the agent, and the test's own watcher, have applied it. */
  const rotate = async (): Promise<void> => {
    const rotation = await operator.rotate({ text: "interop", wait: seconds(30) });
    expect(rotation).toMatchObject({ state: "done", applied: 2, missing: [] });
  };
  return { rig, agent, consumer, rotate, watcher };
}

/** What consumers were served, as the agent's own metrics tell it. */
async function servedBy(agent: Agent): Promise<number> {
  const text = await (await fetch(`${agent.statusUrl}/metrics`)).text();
  const lines = text.matchAll(
    /^evergrant_agent_requests_total\{[^}]*outcome="served"[^}]*\} (\d+)/gm,
  );
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** The access key of what the job holds now. */
async function currentKey(rig: JobRig, watcher: Awaited<ReturnType<JobRig["agent"]>>) {
  await generationAt(watcher, rig.issued());
  const material = watcher.current("lake")?.material.reveal() as { readonly accessKeyId: string };
  return material.accessKeyId;
}

describe.each(CONVENTIONS)("an agent's %s in a real job", (convention) => {
  test("serves boto3 through three generations: 100 signings cost one request, and STS is asked once for each", async () => {
    const { rig, agent, consumer, rotate, watcher } = await startedAgent(
      convention,
      WINDOW_MS + 14_000,
    );
    const sign = startBoto3(program("python"), consumer);
    const first = await currentKey(rig, watcher);
    // What follows is outside of its window for longer: the client takes it when the one before comes into its own.
    rig.sts.knobs.lifetimeMs = WINDOW_MS + 19_000;
    expect(await sign(100)).toEqual({ keys: [first] });
    expect(await servedBy(agent)).toBe(1);
    for (const generation of [2, 3]) {
      await rotate();
      const key = await currentKey(rig, watcher);
      // It keeps what it has until that comes into its window, then asks once.
      await eventually(async () => (await sign(1)).keys?.includes(key) === true);
      const asked = await servedBy(agent);
      expect(await sign(100)).toEqual({ keys: [key] });
      expect(await servedBy(agent)).toBe(asked);
      expect(asked).toBe(generation);
    }
    expect(rig.issued()).toBe(3);
  });

  test("serves each call of the AWS CLI what is current at that moment, through rotations", async () => {
    // Inside of its window, and no plan comes before the CLI has ended, which takes seconds on a busy machine.
    const { rig, agent, consumer, rotate } = await startedAgent(convention, WINDOW_MS / 2);
    const service = await startAwsService();
    const keys: string[] = [];
    for (const generation of [1, 2, 3]) {
      if (generation > 1) await rotate();
      expect(agent.health()).toMatchObject({ generation, ready: true });
      const args = ["s3api", "list-buckets", "--endpoint-url", service.url];
      const end = await runToEnd(program("aws"), args, consumer);
      expect(end).toMatchObject({ exitCode: 0, stderr: "" });
      keys.push(service.seen.at(-1)?.accessKey ?? "");
    }
    expect(new Set(keys).size).toBe(3);
    for (const key of keys) expect(rig.sts.findKey(key)).toBeDefined();
    // So little life is inside of its window: it asks when it loads, and again when it signs.
    expect(await servedBy(agent)).toBe(6);
  });
});
