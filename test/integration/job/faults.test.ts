import { Redis } from "ioredis";
import { beforeAll, describe, expect, it } from "vitest";
import { monoMs } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { eventually } from "../../support/eventually.ts";
import { generationAt, startJobRig, watchForGaps } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

/** Renewed in the middle of its life: what is left lasts, though the machine stands still for some seconds. */
async function startedRig(lifetimeMs: number) {
  await Promise.all([nats.wipe(), redis.wipe()]);
  const rig = await startJobRig({ nats, redis, lifetimeMs, ratio: 0.5 });
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const agent = await rig.agent();
  await generationAt(agent, 1);
  return { rig, coordinator, agent, gap: watchForGaps(agent, "lake") };
}

describe("a job whose stores fail", () => {
  it("renews in time and once after Redis lost everything (I10)", async () => {
    const { rig, agent, gap } = await startedRig(14_000);
    const client = new Redis(redis.url);
    await client.flushall();
    client.disconnect();
    await generationAt(agent, 2);
    expect(gap.stop()).toBe(0);
    expect(rig.issued()).toBe(2);
  });

  it("renews in time and once while Redis is away, and says so", async () => {
    const { rig, coordinator, agent, gap } = await startedRig(14_000);
    await redis.stop();
    await generationAt(agent, 2);
    expect(coordinator.status().warnings).toContain(
      "Redis is away: renewals run on the local watchdog",
    );
    await redis.restart();
    await generationAt(agent, 3);
    await eventually(() => coordinator.status().warnings.every((w) => !w.includes("Redis")));
    expect(gap.stop()).toBe(0);
    expect(rig.issued()).toBe(3);
  });

  it("goes on serving while NATS is away for longer than a heartbeat, then catches up by itself", async () => {
    const { rig, coordinator, gap } = await startedRig(120_000);
    const { term } = coordinator.status();
    await nats.stop();
    // Longer than three beats, and than the lease: the coordinator has to win it back.
    await eventually(() => coordinator.status().phase !== "leading");
    await nats.restart();
    await eventually(() => coordinator.status().phase === "leading");
    expect(coordinator.status().term).toBeGreaterThan(term);
    await eventually(() => coordinator.status().agents.upToDate === 1);
    expect(rig.issued()).toBe(1);
    expect(gap.stop()).toBe(0);
  });

  it("goes on with the same credential after NATS lost everything", async () => {
    const { rig, coordinator, agent, gap } = await startedRig(120_000);
    const held = agent.current("lake");
    await nats.wipe();
    await eventually(
      () => coordinator.status().ready && coordinator.status().agents.upToDate === 1,
    );
    const late = await rig.agent();
    expect((await generationAt(late, 1)).generation).toBe(1);
    expect(rig.issued()).toBe(1);
    expect(agent.current("lake")?.generation).toBe(held?.generation);
    expect(gap.stop()).toBe(0);
  });
});

describe("a job whose issuer fails", () => {
  it("renews after STS has throttled for half of the remaining life, with few calls and no gap", async () => {
    const { rig, coordinator, agent, gap } = await startedRig(24_000);
    // The renewal is due at 12 s, and STS throttles until 18 s.
    const { wall, mono } = systemClock.now();
    const end = mono + (agent.current("lake")?.expiresAt ?? Number.NaN) - wall;
    rig.sts.knobs.throttle = { untilMono: monoMs(end - 6000) };
    let firstAt: number | undefined;
    rig.sts.onCall = () => {
      firstAt ??= systemClock.now().mono;
    };
    await generationAt(agent, 2);
    expect(gap.stop()).toBe(0);
    // The fault was met for as long: it was asked for by then, and the answer came after its end.
    expect(end - (firstAt ?? Number.NaN)).toBeGreaterThan(9000);
    expect(systemClock.now().mono).toBeGreaterThan(end - 6000);
    expect(rig.sts.count("AssumeRole", "Throttling")).toBeGreaterThanOrEqual(2);
    const calls = coordinator.status().providers[0]?.issuerCalls ?? 0;
    expect(calls).toBe(1 + rig.sts.count("AssumeRole", "Throttling") + 1);
    // Waits of 1, 1, 2 and 2 s at least: five calls fit into the time of throttling.
    expect(calls).toBeLessThanOrEqual(1 + 5 + 1);
    expect(coordinator.status().rotations.at(-1)?.issuerCalls).toBe(calls - 1);
  });

  it.each([
    ["denies", { deny: true }, "ISSUER_DENIED"],
    ["answers 500", { fail5xx: true }, "ISSUER_UNAVAILABLE"],
    ["answers garbage", { garbage: true }, "ISSUER_ANSWER_UNUSABLE"],
    ["gives no expiry", { noExpiration: true }, "ISSUER_EXPIRY_MISSING"],
    ["gives an expiry that is past", { expiryInPast: true }, "ISSUER_EXPIRY_PAST"],
    ["hangs", { hang: true }, "ISSUER_TIMEOUT"],
  ] as const)(
    "runs on, not ready and with the reason, when STS %s at first, and heals",
    async (_what, knobs, code) => {
      await Promise.all([nats.wipe(), redis.wipe()]);
      const rig = await startJobRig({ nats, redis, lifetimeMs: 30_000 });
      Object.assign(rig.sts.knobs, knobs);
      const coordinator = await rig.coordinator();
      await eventually(() => coordinator.status().providers[0]?.lastError?.code === code);
      const ready = await fetch(`${coordinator.statusUrl}/readyz`);
      expect(ready.status).toBe(503);
      expect(await ready.text()).toContain(code);
      for (const knob of Object.keys(knobs)) Object.assign(rig.sts.knobs, { [knob]: false });
      await coordinator.ready();
      expect(coordinator.status().providers[0]?.state).toBe("fresh");
    },
  );
});
