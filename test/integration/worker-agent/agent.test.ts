import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { freePort } from "../../../src/embedded/answers.ts";
import { type Agent, type StartAgentOptions, startAgent } from "../../../src/worker-agent/agent.ts";
import { eventually } from "../../support/eventually.ts";
import { testJob, userOf } from "../../support/nats-job.ts";
import { startNats, type TestServer } from "../../support/servers.ts";
import { QUICK, ScriptedCoordinator } from "./scripted-coordinator.ts";

let nats: TestServer;
let coordinator: ScriptedCoordinator;
let dir: string;
const agents: Agent[] = [];
const squatters: Server[] = [];

beforeEach(async () => {
  const job = await testJob();
  nats = await startNats({
    users: [userOf("coordinator", job.id, "c1"), userOf("agent", job.id, "*")],
  });
  coordinator = await ScriptedCoordinator.start(job, nats);
  dir = await mkdtemp(join(tmpdir(), "evergrant-agent-test-"));
});
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.close()));
  for (const squatter of squatters.splice(0)) squatter.close();
  await coordinator.broker.close();
  await nats.kill();
  await chmod(dir, 0o700);
  await rm(dir, { recursive: true, force: true });
});

async function start(config: StartAgentOptions["config"] = {}): Promise<Agent> {
  const agent = await startAgent({
    join: await coordinator.joinFile(),
    config: { timings: QUICK, ...config },
    configDir: dir,
  });
  agents.push(agent);
  return agent;
}

/** What an AWS client does with the environment that the agent exports. */
async function accessKey(agent: Agent): Promise<string> {
  const set = agent.environments().find(({ kind }) => kind === "aws-container")?.environment.set;
  const token = await readFile(set?.["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] ?? "", "utf8");
  const answer = await fetch(set?.["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ?? "", {
    headers: { authorization: token.trim() },
  });
  const body = (await answer.json()) as { readonly AccessKeyId: string };
  return body.AccessKeyId;
}

describe("startAgent", () => {
  it("serves a provider by its convention when nothing is configured", async () => {
    await coordinator.publish(1, [coordinator.awsSession("lake", 1)]);
    const agent = await start();
    await agent.ready(10_000);
    expect(await accessKey(agent)).toBe("ASIATESTTESTTEST0001");
    await coordinator.publish(2, [coordinator.awsSession("lake", 2)]);
    await eventually(() => coordinator.acks(agent.agent).length === 2);
    expect(await accessKey(agent)).toBe("ASIATESTTESTTEST0002");
  });

  it("is ready without a receiver for a kind that nothing serves by convention", async () => {
    await coordinator.publish(1, [coordinator.credential("odd", 1)]);
    const agent = await start();
    await agent.ready(10_000);
    expect(agent.environments()).toEqual([]);
  });

  it("serves two providers on ports of their own, and two receivers of one provider", async () => {
    const [one, two] = [await freePort(), await freePort()];
    const path = join(dir, "credential.json");
    await coordinator.publish(1, [
      coordinator.awsSession("lake", 1),
      coordinator.awsSession("sea", 1),
    ]);
    const agent = await start({
      receivers: [
        { kind: "aws-container", provider: "lake", port: one },
        { kind: "aws-container", provider: "sea", port: two },
        { kind: "file", provider: "lake", path },
      ],
    });
    await agent.ready(10_000);
    expect(await readFile(path, "utf8")).toContain("session-of-lake-1");
    await eventually(() => coordinator.acks(agent.agent).length === 1);
    expect(coordinator.registers[0]?.receivers).toHaveLength(3);
    expect(coordinator.acks(agent.agent)[0]).toMatchObject({
      results: [
        { provider: "lake", kind: "aws-container", outcome: "applied" },
        { provider: "sea", kind: "aws-container", outcome: "applied" },
        { provider: "lake", kind: "file", outcome: "applied" },
      ],
    });
  });

  it("acks a receiver whose port is taken as failed, and again once the port is free", async () => {
    const port = await freePort();
    const squatter = createServer();
    squatters.push(squatter);
    await new Promise<void>((resolve) => squatter.listen(port, "127.0.0.1", resolve));
    await coordinator.publish(1, [coordinator.awsSession("lake", 1)]);
    const agent = await start({ receivers: [{ kind: "aws-container", provider: "lake", port }] });
    await eventually(() => coordinator.acks(agent.agent).length === 1);
    expect(coordinator.acks(agent.agent)[0]).toMatchObject({
      results: [{ outcome: "failed", code: "RECEIVER_FAILED" }],
    });
    await expect(agent.ready(1)).rejects.toMatchObject({
      message: expect.stringContaining("aws-container/lake: RECEIVER_FAILED"),
    });
    await new Promise<void>((resolve) => squatter.close(() => resolve()));
    await agent.ready(10_000);
    await eventually(() => coordinator.acks(agent.agent).length === 2);
    expect(coordinator.acks(agent.agent)[1]).toMatchObject({ results: [{ outcome: "applied" }] });
  });

  it("says how it is on /healthz, /readyz and /metrics", async () => {
    const agent = await start({ status: { port: 0 }, providers: ["lake"] });
    const get = (path: string) => fetch(`${agent.statusUrl}${path}`);
    expect((await get("/healthz")).status).toBe(200);
    const before = await get("/readyz");
    expect(before.status).toBe(503);
    expect(await before.json()).toMatchObject({
      reasons: expect.arrayContaining(["provider lake: no unexpired credential"]),
    });
    await coordinator.publish(1, [coordinator.awsSession("lake", 1)]);
    await agent.ready(10_000);
    expect((await get("/readyz")).status).toBe(200);
    await accessKey(agent);
    await coordinator.store(new Uint8Array([1, 2, 3]));
    await eventually(() => agent.health().refused["MESSAGE_FORGED"] === 1);
    const metrics = await (await get("/metrics")).text();
    for (const line of [
      /evergrant_runway_seconds\{provider="lake"\} 35\d\d/,
      /requests_total\{kind="aws-container",provider="lake",outcome="served",client="other"\} 1/,
      /requests_total\{kind="aws-container",provider="lake",outcome="probe",client="\w+"\} 1/,
      /served_life_seconds_bucket\{le="1800",kind="aws-container",provider="lake"\} 0/,
      /served_life_seconds_bucket\{le="3600",kind="aws-container",provider="lake"\} 1/,
      /evergrant_agent_generation 1/,
      /evergrant_agent_term 100/,
      /evergrant_agent_refused_total\{code="MESSAGE_FORGED"\} 1/,
      /receiver_applies_total\{kind="aws-container",provider="lake",outcome="applied"\} 1/,
      /evergrant_agent_registrations_total\{outcome="joined"\} 1/,
      /evergrant_agent_clock_skew_seconds -?\d/,
    ]) {
      expect(metrics).toMatch(line);
    }
  });

  it("fails at once with every fault of its configuration", async () => {
    await expect(
      start({ receivers: [{ kind: "aws-container", provider: "lake", port: 0 }] }),
    ).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("receivers.0.port"),
    });
    expect(coordinator.registers).toHaveLength(0);
  });
});
