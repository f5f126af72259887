/** S9: connections that are cut, delayed, stalled and half-open, between each node and each server. */
import { beforeAll, describe, expect, it } from "vitest";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { eventually } from "../support/eventually.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { expectUnharmed } from "./support/oracle.ts";
import { expectOnTime, RENEWED, ROTATED } from "./support/outcomes.ts";
import { saidAt } from "./support/process.ts";
import {
  AGENTS,
  askForRotation,
  endCycle,
  published,
  putDown,
  says,
  standsBy,
  startCyclingScene,
  startLonelyScene,
  startScene,
} from "./support/scene.ts";
import { STEADY, writesOf } from "./support/system-rig.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

const now = (): number => systemClock.now().mono;
const lasting = (ms: number): Promise<void> =>
  new Promise((resolve) => void systemClock.timer(durationMs(ms), resolve));

describe("S9: the holder's way to NATS", () => {
  for (const how of ["cut", "halfOpen", "stall"] as const) {
    it(`S9.1 ${how}: it stops before its lease could be taken, its standby leads, and it comes back as one`, async () => {
      // Two margins lie between the two: more than a process that stands still may be late to say that it stopped.
      const timing = { leaseTtlSec: 4.5, leaseMarginSec: 1.5 };
      const { rig, holder, standby, agents } = await startScene({ nats, redis, timing });
      const since = now();
      holder.nats[how]();
      const [down, led] = await Promise.all([holder.until(putDown, since), standby.leads(since)]);
      // I5: the old holder has stopped before the new one began.
      expect(saidAt(down)).toBeLessThan(saidAt(led));
      const takeoverMs = (timing.leaseTtlSec + timing.leaseMarginSec) * 1000;
      expect(led.at - since).toBeLessThan(takeoverMs + 10_000);
      await standby.until(published(1));
      // Renewing is the standby's alone now, though the old holder still reaches STS.
      await askForRotation(rig);
      await standby.until(published(2));
      const { books } = holder.nats;
      if (how === "cut") expect(books.cut).toBeGreaterThan(0);
      else expect(books.heldBytes).toBeGreaterThan(0);
      const mended = now();
      holder.nats.mend();
      await holder.until(standsBy, mended);
      expect(
        holder.nats.said.filter((frame) => frame.at >= since && writesOf(rig, "bundle")(frame)),
      ).toEqual([]);
      expect(holder.count((line) => line["msg"] === "leading", since)).toBe(0);
      await expectUnharmed(rig, agents, { ...ROTATED, terms: 2 });
    });
  }

  it("S9.2 slow by 300 ms each way: it goes on leading and rotates", async () => {
    const { rig, holder, standby, agents } = await startScene({ nats, redis, timing: STEADY });
    holder.nats.delay(300);
    await askForRotation(rig);
    await holder.until(published(2));
    expect(holder.nats.books.delayedChunks).toBeGreaterThan(4);
    expect(holder.count(putDown)).toBe(0);
    expect(standby.count((line) => line["msg"] === "leading")).toBe(0);
    await expectUnharmed(rig, agents, ROTATED);
  });

  it("S9.3 a blink of 200 ms: the lease is still its own, nobody takes over", async () => {
    const { rig, holder, standby, agents } = await startScene({
      nats,
      redis,
      // The client's pause before it connects again must fit into the lease.
      timing: STEADY,
    });
    const since = now();
    const { accepted } = holder.nats.books;
    holder.nats.cut();
    await lasting(200);
    holder.nats.mend();
    await eventually(() => holder.nats.books.accepted > accepted);
    await askForRotation(rig);
    await holder.until(published(2), since);
    expect(holder.nats.books.cut).toBeGreaterThan(0);
    expect(standby.count((line) => line["msg"] === "leading")).toBe(0);
    await expectUnharmed(rig, agents, ROTATED);
  });
});

describe("S10: the agents' way to NATS", () => {
  for (const how of ["cut", "halfOpen", "stall"] as const) {
    it(`S10.1 ${how} through a rotation: they serve what they hold, then catch up by themselves`, async () => {
      const { rig, holder, agents } = await startLonelyScene({ nats, redis, timing: STEADY });
      rig.agentsNats[how]();
      const since = now();
      await askForRotation(rig);
      await holder.until(published(2), since);
      await lasting(1000);
      const during = await agents.report();
      expect(during.agents.map(({ generation, gaps }) => [generation, gaps])).toEqual(
        Array.from({ length: AGENTS }, () => [1, 0]),
      );
      const { books } = rig.agentsNats;
      if (how === "cut") expect(books.cut).toBe(AGENTS);
      else expect(books.heldBytes).toBeGreaterThan(0);
      rig.agentsNats.mend();
      await agents.untilGeneration(2);
      await expectUnharmed(rig, agents, ROTATED);
    });
  }
});

describe("S11: the way to STS and to Redis", () => {
  it("S11.1 a call that hangs in the network ends with its time, is counted, and the retry obtains", async () => {
    const { rig, holder, agents } = await startLonelyScene({ nats, redis, timing: STEADY });
    // This one request and its connection, for good: the retry finds the way open, however soon it comes.
    const holding = rig.stsProxy.holdNext(() => true);
    await askForRotation(rig);
    const { frame } = await holding;
    expect(frame.bytes.toString("latin1")).toMatch(/^POST /);
    const failed = await holder.until(says("obtaining failed"));
    expect(failed.fields["code"]).toBe("ISSUER_TIMEOUT");
    await holder.until(published(2));
    await expectUnharmed(rig, agents, {
      ...ROTATED,
      counts: { calls: 3, obtained: 2, failures: 1, recoveries: 0 },
    });
  });

  it("S11.2 an answer that is lost on the way: the credential is lost, the failure is counted", async () => {
    const { rig, holder, agents } = await startLonelyScene({ nats, redis, timing: STEADY });
    rig.sts.knobs.dropAnswer = 1;
    await askForRotation(rig);
    await holder.until(published(2));
    expect(rig.sts.count("AssumeRole", "dropped")).toBe(1);
    await expectUnharmed(rig, agents, {
      ...ROTATED,
      issuer: 3,
      counts: { calls: 3, obtained: 2, failures: 1, recoveries: 0 },
    });
  });

  it("S11.3 half-open to Redis: renewals run on the watchdog, on time", async () => {
    const { rig, holder, agents, issuedAt } = await startCyclingScene({ nats, redis });
    endCycle(rig);
    const since = now();
    holder.redis.halfOpen();
    await holder.until(says("Redis is away: renewals run on the local watchdog"), since);
    expectOnTime(issuedAt, await holder.until(published(3), since));
    expect(holder.redis.books.heldBytes).toBeGreaterThan(0);
    holder.redis.mend();
    await expectUnharmed(rig, agents, RENEWED);
  });
});
