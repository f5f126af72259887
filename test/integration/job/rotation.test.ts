import { beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { generationAt, startJobRig, watchForGaps } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

describe("one coordinator and its agents", () => {
  it("asks STS once for each rotation, whatever the number of agents, and all apply it", async () => {
    await nats.wipe();
    const rig = await startJobRig({ nats, redis, lifetimeMs: 12_000, ratio: 0.5 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agents = await Promise.all(Array.from({ length: 5 }, () => rig.agent()));
    await Promise.all(agents.map((agent) => generationAt(agent, 1)));
    const gaps = agents.map((agent) => watchForGaps(agent, "lake"));
    await Promise.all(agents.map((agent) => generationAt(agent, 3)));
    await eventually(() => coordinator.status().rotations.at(-1)?.state === "done");
    const status = coordinator.status();
    expect(status.rotations.map((r) => [r.reason, r.issuerCalls])).toEqual([
      ["initial", 1],
      ["scheduled", 1],
      ["scheduled", 1],
    ]);
    expect(status.rotations.map((r) => r.applied)).toEqual([5, 5, 5]);
    expect(rig.issued()).toBe(3);
    expect(gaps.map((gap) => gap.stop())).toEqual([0, 0, 0, 0, 0]);
  });

  it("adopts what is still good after a restart, without asking STS, and under a higher term", async () => {
    await nats.wipe();
    const rig = await startJobRig({ nats, redis, lifetimeMs: 60_000 });
    const first = await rig.coordinator();
    await first.ready();
    const agent = await rig.agent();
    const before = await generationAt(agent, 1);
    const { term } = first.status();
    await first.handOver();
    const second = await rig.coordinator();
    await second.ready();
    expect(second.status().term).toBeGreaterThan(term);
    await eventually(() => second.status().agents.upToDate === 1);
    expect(rig.issued()).toBe(1);
    expect(agent.current("lake")).toBe(before);
  });

  it("gives a late joiner the current credential without asking STS", async () => {
    await nats.wipe();
    const rig = await startJobRig({ nats, redis, lifetimeMs: 60_000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const late = await rig.agent();
    expect((await generationAt(late, 1)).generation).toBe(1);
    expect(rig.issued()).toBe(1);
  });

  it("serves an agent that was started before its coordinator", async () => {
    await nats.wipe();
    const rig = await startJobRig({ nats, redis, lifetimeMs: 60_000 });
    const waiting = rig.agent({ startTimeoutMs: 30_000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    expect((await generationAt(await waiting, 1)).generation).toBe(1);
  });

  it("serves two agents of one name, and warns", async () => {
    await nats.wipe();
    const rig = await startJobRig({ nats, redis, lifetimeMs: 60_000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const twins = await Promise.all([rig.agent({ name: "twin" }), rig.agent({ name: "twin" })]);
    await Promise.all(twins.map((agent) => generationAt(agent, 1)));
    await eventually(() => coordinator.status().agents.live === 2);
    expect(coordinator.status().warnings).toContainEqual(
      expect.stringMatching(/2 agents call themselves twin/),
    );
  });

  it("keeps two accounts on schedules of their own: one that is denied leaves the other untouched (I6)", async () => {
    await nats.wipe();
    const rig = await startJobRig({
      nats,
      redis,
      lifetimeMs: 12_000,
      ratio: 0.5,
      providers: ["lake", "vault"],
    });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await rig.agent();
    await generationAt(agent, 1);
    rig.sts.knobs.deny = {
      when: (call: { roleArn?: string }) => call.roleArn?.endsWith("/vault") === true,
    } as never;
    const gap = watchForGaps(agent, "lake");
    await eventually(
      () =>
        (coordinator.status().providers.find((p) => p.provider === "vault")?.consecutiveFailures ??
          0) > 0,
    );
    const lake = () => coordinator.status().providers.find((p) => p.provider === "lake");
    const { generation = 0 } = lake() ?? {};
    await eventually(() => (lake()?.generation ?? 0) > generation);
    expect(lake()?.consecutiveFailures).toBe(0);
    expect(gap.stop()).toBe(0);
  });
});
