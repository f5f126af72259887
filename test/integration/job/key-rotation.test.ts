/** Rotation of the job's keys under running agents, none of which gets a new join token. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import type { CoordinatorHandle } from "../../../src/coordinator/coordinator.ts";
import { promoteJobKeyFile, rotateJobKeyFile } from "../../../src/coordinator/job-key-rotation.ts";
import { connectOperator } from "../../../src/operator/operator-client.ts";
import { joinFileSchema } from "../../../src/protocol/join.ts";
import { seconds } from "../../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../../src/runtime/system-clock.ts";
import { eventually } from "../../support/eventually.ts";
import { generationAt, type JobRig, startJobRig, watchForGaps } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

/** What an executor was handed long ago: of the first keys, and with a token that lets nobody in. */
async function staleJoinFile(rig: JobRig): Promise<string> {
  const path = join(rig.dir, "stale-join.json");
  const stale = joinFileSchema.parse(JSON.parse(await readFile(rig.joinFile, "utf8")));
  await writeFile(path, JSON.stringify({ ...stale, token: "used.up.long-ago" }));
  return path;
}

it("agents go on through two rotations, and one comes back that has slept through them", async () => {
  const rig = await startJobRig({ nats, redis, lifetimeMs: 600_000 });
  const id = { tenant: "default", job: "etl" };
  const keyFile = join(rig.dir, "run", "job-key.json");
  let coordinator = await rig.coordinator();
  const restarted = async (agents: number): Promise<CoordinatorHandle> => {
    await coordinator.handOver();
    coordinator = await rig.coordinator();
    await coordinator.ready();
    await eventually(() => coordinator.status().agents.upToDate === agents);
    return coordinator;
  };
  await coordinator.ready();

  const joinFile = join(rig.dir, "given-join.json");
  await writeFile(joinFile, await readFile(rig.joinFile, "utf8"));
  const stateDir = join(rig.dir, "sleeper");
  const sleeper = await rig.agent({ joinFile, stateDir, name: "sleeper" });
  const fixed = await rig.agent({ joinFile, name: "fixed" });
  const fresh = await rig.agent({ name: "fresh" });
  await Promise.all([sleeper, fixed, fresh].map((agent) => generationAt(agent, 1)));
  await sleeper.close();
  await writeFile(joinFile, await readFile(await staleJoinFile(rig), "utf8"));
  const gaps = [fixed, fresh].map((agent) => watchForGaps(agent, "lake"));

  const { generation } = coordinator.status();
  await rotateJobKeyFile(keyFile, id, systemClock.now().wall, systemRandom);
  expect((await restarted(2)).status().generation).toBe(generation);
  await promoteJobKeyFile(keyFile, id);
  expect((await restarted(2)).status().generation).toBe(generation + 1);

  await rotateJobKeyFile(keyFile, id, systemClock.now().wall, systemRandom);
  await promoteJobKeyFile(keyFile, id);
  expect((await restarted(2)).status().generation).toBe(generation + 2);

  const back = await rig.agent({ joinFile, stateDir, name: "sleeper" });
  await back.ready(20_000);
  expect(rig.issued()).toBe(1);

  const operator = await connectOperator(coordinator.operatorFile);
  const rotation = await operator.rotate({ text: "after", wait: seconds(30) });
  await operator.close();
  expect(rotation).toMatchObject({ state: "done", applied: 3, missing: [] });
  expect(gaps.map((gap) => gap.stop())).toEqual([0, 0]);
});

it("an agent that was away while the keys were promoted learns them from its coordinator", async () => {
  await nats.wipe();
  const rig = await startJobRig({ nats, redis, lifetimeMs: 600_000 });
  const id = { tenant: "default", job: "etl" };
  const keyFile = join(rig.dir, "run", "job-key.json");
  const first = await rig.coordinator();
  await first.ready();
  const joinFile = join(rig.dir, "given-join.json");
  await writeFile(joinFile, await readFile(rig.joinFile, "utf8"));
  const agent = await rig.agent({ joinFile });
  await generationAt(agent, 1);
  await writeFile(joinFile, await readFile(await staleJoinFile(rig), "utf8"));
  const refused: string[] = [];
  agent.events.on("refused", ({ code }) => refused.push(code));

  // Nobody was told of the new set before it signs.
  await rotateJobKeyFile(keyFile, id, systemClock.now().wall, systemRandom);
  await promoteJobKeyFile(keyFile, id);
  await first.handOver();
  const second = await rig.coordinator();
  await second.ready();
  await eventually(() => second.status().agents.upToDate === 1);
  expect(new Set(refused)).toEqual(new Set(["KEY_UNKNOWN"]));
  expect(second.status().refused).toEqual({});
});
