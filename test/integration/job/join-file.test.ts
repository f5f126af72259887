/** A join file that is no good: the agent says why, the coordinator counts it, and a good file heals it. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { JoinFile } from "../../../src/protocol/join.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import type { JobMembership } from "../../../src/worker-agent/join-job.ts";
import { eventually } from "../../support/eventually.ts";
import { FAST, generationAt, type JobRig, startJobRig } from "../../support/job-rig.ts";
import { testJob } from "../../support/nats-job.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

const read = async (path: string): Promise<JoinFile> =>
  JSON.parse(await readFile(path, "utf8")) as JoinFile;

/** A compact JWS whose payload says something else under the old signature. */
function tampered(jws: string): string {
  const [head = "", payload = "", signature = ""] = jws.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString("utf8")) as object;
  const changed = JSON.stringify({ ...claims, maxAgents: 999_999 });
  return [head, Buffer.from(changed).toString("base64url"), signature].join(".");
}

/** An agent with this join file in a place of its own. */
async function agentWith(rig: JobRig, file: JoinFile) {
  const path = join(rig.dir, "given-join.json");
  await writeFile(path, JSON.stringify(file));
  const agent = await rig.agent({ joinFile: path });
  return { path, agent };
}

/** Another job on the same servers, whose issuer knows the same base key. */
const neighbour = (rig: JobRig, job: string): Promise<JobRig> =>
  startJobRig({
    nats,
    redis,
    job,
    lifetimeMs: 60_000,
    sts: { baseKeys: [rig.sts.baseCredentials] },
  });

const refusedWith = (agent: JobMembership, code: string) =>
  eventually(() => agent.health().reasons.some((reason) => reason.includes(code)));

describe("an agent whose join file", () => {
  it("has ended is told so, and comes in once the file is replaced", async () => {
    const rig = await startJobRig({
      nats,
      redis,
      job: "expired",
      lifetimeMs: 60_000,
      yaml: `${FAST}\njoin: {ttlSec: 2}`,
    });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const old = await read(rig.joinFile);
    // The coordinator judges by the issuer's clock, whose Date header is up to a second old.
    await eventually(() => Date.parse(old.expiresAt) + 1500 < systemClock.now().wall);
    // The coordinator has written fresh ones meanwhile.
    await eventually(
      async () => Date.parse((await read(rig.joinFile)).expiresAt) > Date.parse(old.expiresAt),
    );
    const { agent, path } = await agentWith(rig, old);
    await refusedWith(agent, "JOIN_TOKEN_EXPIRED");
    expect(agent.current("lake")).toBeUndefined();
    expect(coordinator.status().refused["JOIN_TOKEN_EXPIRED"]).toBeGreaterThanOrEqual(1);
    // So does whoever hands it on: one that has ended on its way is followed by a fresher one.
    await eventually(async () => {
      await writeFile(path, await readFile(rig.joinFile));
      return agent.current("lake") !== undefined;
    });
    expect((await generationAt(agent, 1)).generation).toBe(1);
    expect(rig.issued()).toBe(1);
  });

  it("was tampered with, or has another job's token, is refused by code and counted", async () => {
    const rig = await startJobRig({ nats, redis, job: "tampered", lifetimeMs: 60_000 });
    const other = await neighbour(rig, "other");
    const [coordinator] = await Promise.all([rig.coordinator(), other.coordinator()]);
    await coordinator.ready();
    const good = await read(rig.joinFile);
    const foreign = await read(other.joinFile);
    for (const [count, token] of [tampered(good.token), foreign.token].entries()) {
      const { agent, path } = await agentWith(rig, { ...good, token });
      await refusedWith(agent, "JOIN_TOKEN_INVALID");
      await eventually(() => (coordinator.status().refused["JOIN_TOKEN_INVALID"] ?? 0) > count);
      await writeFile(path, JSON.stringify(good));
      await generationAt(agent, 1);
      await agent.close();
    }
  });

  it("names other keys as the job's gives nothing away: the coordinator can't open the request, and nobody else may answer", async () => {
    const rig = await startJobRig({ nats, redis, job: "keys", lifetimeMs: 60_000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const good = await read(rig.joinFile);
    const { publicKeys } = await testJob({ tenant: "default", job: "keys" });
    const { agent, path } = await agentWith(rig, { ...good, jobKeys: publicKeys });
    await refusedWith(agent, "NO_COORDINATOR");
    await eventually(() => Object.keys(coordinator.status().refused).length > 0);
    expect(agent.current("lake")).toBeUndefined();
    // Only the signing key is another's: the answer comes, and is not believed.
    const { registration } = good.jobKeys;
    await writeFile(path, JSON.stringify({ ...good, jobKeys: { ...publicKeys, registration } }));
    await refusedWith(agent, "KEY_UNKNOWN");
    await writeFile(path, JSON.stringify(good));
    await generationAt(agent, 1);
  });

  it("turns into another job's, or into garbage, goes on with what it knew", async () => {
    const rig = await startJobRig({ nats, redis, job: "mine", lifetimeMs: 60_000 });
    const other = await neighbour(rig, "theirs");
    const theirs = await other.coordinator();
    await theirs.ready();
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const { agent, path } = await agentWith(rig, await read(rig.joinFile));
    await generationAt(agent, 1);
    for (const content of [await readFile(other.joinFile), "{ this is no JSON"]) {
      await writeFile(path, content);
      await nats.restart();
      await eventually(() => agent.health().connected && coordinator.status().ready);
      await eventually(() => coordinator.status().agents.upToDate === 1);
    }
    expect(agent.job).toBe("mine");
    expect(theirs.status().agents).toMatchObject({ live: 0 });
  });
});
