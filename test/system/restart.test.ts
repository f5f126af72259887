/** S12: coordinators that come back: to what they left, to nothing, and to agents that know more than they. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { eventually } from "../support/eventually.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { startAgents } from "./support/agents-process.ts";
import { fakeTime } from "./support/faketime.ts";
import { expectNoRegistration, expectUnharmed } from "./support/oracle.ts";
import { KEPT } from "./support/outcomes.ts";
import { AGENTS, published, says, startLonelyScene } from "./support/scene.ts";
import { AGENT_TIMINGS, STEADY, type SystemRig } from "./support/system-rig.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

const now = (): number => systemClock.now().mono;

describe("S12: a coordinator comes back", () => {
  it("S12.1 killed and started again: it adopts its own state, without an issuer call", async () => {
    const { rig, holder, agents } = await startLonelyScene({ nats, redis });
    await holder.kill();
    const again = await rig.coordinator("a");
    await again.until(published(1));
    const { term } = (await again.leads()).fields;
    await agents.untilAll((version) => version.term === term);
    expectNoRegistration(await expectUnharmed(rig, agents, { ...KEPT, terms: 2 }));
  });

  it("S12.2 to two wiped stores, with the same job key: one obtain, and agents go on without a join token", async () => {
    const { rig, holder, agents } = await startLonelyScene({ nats, redis });
    const { fields: before } = await holder.leads();
    await eventually(async () => usesOf(await rig.state()) === AGENTS);
    await holder.kill();
    await Promise.all([nats.wipe(), redis.wipe()]);
    // Whoever would need the token now fails: it is another job's.
    const path = await spoilToken(rig.dir);
    const since = now();
    const again = await rig.coordinator("a");
    const { fields: after } = await again.leads();
    expect(after["term"]).toBeGreaterThan(Number(before["term"]));
    await agents.untilAll((version) => version.term === after["term"]);
    expect((await rig.state())?.tokenUses).toEqual({});
    expect(agents.count((line) => line["code"] === "JOIN_TOKEN_INVALID", since)).toBe(0);
    const reports = await expectUnharmed(rig, agents, { ...KEPT, issuer: 2, terms: 2 });
    // With their tickets: the new state has a new group key (ADR 6).
    expect(reports.filter(({ registrations }) => registrations === 0)).toEqual([]);

    // Negative control: a newcomer has but that token, and is refused.
    const stranger = startAgents(path, {
      count: 1,
      namePrefix: "stranger",
      timings: AGENT_TIMINGS,
    });
    const refusal = await stranger.until(says("not registered; trying again"));
    expect(refusal.fields["code"]).toBe("JOIN_TOKEN_INVALID");
    await stranger.kill();
  });

  it("S12.3 with a clock an hour behind its predecessor's: agents know a higher term, it takes one above", async () => {
    const ahead = await fakeTime(3600);
    const { rig, holder, agents } = await startLonelyScene({
      nats,
      redis,
      holderEnv: ahead.env,
    });
    const { fields: before } = await holder.leads();
    const wall = Math.floor(systemClock.now().wall / 1000);
    // The fault was met: the first term is of a clock that is ahead.
    expect(Number(before["term"])).toBeGreaterThan(wall + 3000);
    await holder.kill();
    await Promise.all([nats.wipe(), redis.wipe()]);
    const again = await rig.coordinator("b");
    const first = await again.leads();
    expect(Number(first.fields["term"])).toBeLessThan(Number(before["term"]));
    const higher = await again.until(
      (line) => line["msg"] === "leading" && Number(line["term"]) > Number(before["term"]),
    );
    await agents.untilAll((version) => version.term === higher.fields["term"]);
    const { agents: reports } = await agents.report();
    const terms = new Set(reports.flatMap(({ versions }) => versions.map(([term]) => term)));
    expect([...terms]).toEqual([before["term"], higher.fields["term"]]);
    // The first request of the clock that is ahead was refused as signed in the future.
    expect([rig.sts.count(), rig.sts.count("AssumeRole", "ok")]).toEqual([3, 2]);
    expect(reports.map(({ gaps, regressions }) => [gaps, regressions])).toEqual(
      Array.from({ length: AGENTS }, () => [0, 0]),
    );
  });

  it("S12.4 with another configuration of its provider: it obtains anew, once", async () => {
    const { rig, holder, agents } = await startLonelyScene({ nats, redis });
    await holder.kill();
    const again = await rig.coordinator("a", { provider: { durationSec: 1800 } });
    const obtained = await again.until(says("credential obtained"));
    expect(obtained.fields).toMatchObject({ reason: "config", generation: 2 });
    await again.until(published(2));
    expect(rig.sts.counters.issued.map((issued) => issued.requestedDurationSec)).toEqual([
      3600, 1800,
    ]);
    await expectUnharmed(rig, agents, {
      ...KEPT,
      issuer: 2,
      counts: { calls: 2, obtained: 2, failures: 0, recoveries: 0 },
      generation: 2,
      terms: 2,
    });
  });

  it("S12.5 agents that are killed come back by their state folders, without a token or an issuer call", async () => {
    const stateDir = await mkdtemp(join(tmpdir(), "evergrant-agents-"));
    onTestFinished(() => rm(stateDir, { recursive: true, force: true }));
    const { rig, agents } = await startLonelyScene({
      nats,
      redis,
      timing: STEADY,
      agents: { stateDir },
    });
    await eventually(async () => usesOf(await rig.state()) === AGENTS);
    // Killed before its ticket is on the disk, an agent needs its token again.
    await eventually(() => haveTickets(stateDir));
    await agents.kill();
    const path = await spoilToken(rig.dir);
    const again = startAgents(path, {
      count: AGENTS,
      timings: AGENT_TIMINGS,
      stateDir,
    });
    onTestFinished(() => again.kill());
    await again.untilGeneration(1);
    expect(again.count((line) => line["code"] === "JOIN_TOKEN_INVALID")).toBe(0);
    await expectUnharmed(rig, again, KEPT);
  });
});

/** Uses of the one join token. Agents are let in before their use is on the disk. */
function usesOf(state: Awaited<ReturnType<SystemRig["state"]>>): number | undefined {
  const uses = Object.values(state?.tokenUses ?? {});
  expect(uses.length).toBeLessThanOrEqual(1);
  return uses[0];
}

async function haveTickets(stateDir: string): Promise<boolean> {
  const folders = await readdir(stateDir);
  const records = await Promise.all(
    folders.map(async (folder) => {
      const text = await readFile(join(stateDir, folder, "agent.json"), "utf8");
      return JSON.parse(text) as { ticket?: string };
    }),
  );
  return records.length === AGENTS && records.every(({ ticket }) => ticket !== undefined);
}

/** Makes the agents' join token another job's, and says where the file is. */
async function spoilToken(dir: string): Promise<string> {
  const path = join(dir, "join.json");
  const file = JSON.parse(await readFile(path, "utf8")) as { token: string };
  await writeFile(path, JSON.stringify({ ...file, token: `${file.token.slice(0, -8)}AAAAAAAA` }));
  return path;
}
