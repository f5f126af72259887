/**
 * S13: the wall clock steps by an hour, both ways, under the holder, under its successor and under the
 * agents. Plans, leases and expiries run on monotonic clocks: nothing may come early, late or twice.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { fakeTime } from "./support/faketime.ts";
import { expectUnharmed } from "./support/oracle.ts";
import { expectOnTime, IN_TIME_MS, KEPT, RENEWED, ROTATED } from "./support/outcomes.ts";
import { saidAt } from "./support/process.ts";
import {
  beforeCycle,
  beginCycle,
  CYCLE,
  endCycle,
  published,
  putDown,
  says,
  standsBy,
  startCyclingScene,
  startLonelyScene,
} from "./support/scene.ts";

const HOUR_SEC = 3600;

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

const now = (): number => systemClock.now().mono;

describe("S13: the wall clock steps", () => {
  for (const [way, stepSec] of [
    ["forward", HOUR_SEC],
    ["back", -HOUR_SEC],
  ] as const) {
    it(`S13.1 an hour ${way} under the holder: the renewal is on time, nothing is done twice`, async () => {
      const clock = await fakeTime();
      const { rig, holder, agents, issuedAt } = await startCyclingScene({
        nats,
        redis,
        holderEnv: clock.env,
      });
      endCycle(rig);
      await clock.step(stepSec);
      const second = await holder.until(published(3));
      // The fault was met: the holder's own log is an hour off.
      const stepped = (saidAt(second) - systemClock.now().wall) / 1000;
      expect(Math.abs(stepped - stepSec)).toBeLessThan(60);
      expectOnTime(issuedAt, second);
      expect(holder.count(putDown)).toBe(0);
      // STS refuses one request that is signed with the stepped clock; the next one is corrected.
      expect(rig.sts.count("AssumeRole", "ok")).toBe(3);
      await expectUnharmed(rig, agents, {
        issuer: 4,
        counts: { calls: 4, obtained: 3, failures: 1, recoveries: 0 },
        generation: 3,
        runwayAboveMs: IN_TIME_MS,
        terms: 1,
      });
    });

    it(`S13.3 an hour ${way} under the agents: none drops what it holds, none hands out what has expired`, async () => {
      const clock = await fakeTime();
      const { rig, holder, agents } = await startCyclingScene({
        nats,
        redis,
        agentsEnv: clock.env,
      });
      endCycle(rig);
      const since = now();
      await clock.step(stepSec);
      await agents.until(says("the wall clock has moved; measuring again"), since);
      await holder.until(published(3));
      await expectUnharmed(rig, agents, RENEWED);
    });
  }

  async function successorOff(stepSec: number, { cycles = false } = {}) {
    const clock = await fakeTime(stepSec);
    const scene = await startLonelyScene({ nats, redis, ...(cycles ? beforeCycle(CYCLE) : {}) });
    const standby = await scene.rig.coordinator("b", { env: clock.env });
    await standby.until(standsBy);
    const { term } = (await scene.holder.leads()).fields;
    if (cycles) await beginCycle(scene);
    await scene.holder.kill();
    const led = await standby.leads();
    const off = (saidAt(led) - systemClock.now().wall) / 1000;
    expect(Math.abs(off - stepSec)).toBeLessThan(60);
    expect(Number(led.fields["term"])).toBeGreaterThan(Number(term));
    await scene.agents.untilAll((version) => version.term === led.fields["term"]);
    return { ...scene, standby };
  }

  it("S13.2 an hour back at the successor: it adopts, under a higher term, without an issuer call", async () => {
    const { rig, agents } = await successorOff(-HOUR_SEC);
    await expectUnharmed(rig, agents, { ...KEPT, terms: 2 });
  });

  it("S13.5 an hour back at the successor: it renews when its agents' credentials are due, not an hour later", async () => {
    const { rig, agents, standby } = await successorOff(-HOUR_SEC, { cycles: true });
    await standby.until(published(3));
    expect(
      standby.count(says("an agent holds less life than this clock says: renewing")),
    ).toBeGreaterThan(0);
    endCycle(rig);
    await standby.until(published(4));
    await expectUnharmed(rig, agents, {
      // Signed an hour ago: refused once.
      issuer: 5,
      counts: { calls: 5, obtained: 4, failures: 1, recoveries: 0 },
      generation: 4,
      runwayAboveMs: IN_TIME_MS,
      terms: 2,
    });
  });

  it("S13.4 an hour forward at the successor: it takes what it finds for expired, and obtains once", async () => {
    const { rig, agents, standby } = await successorOff(HOUR_SEC);
    await standby.until(published(2));
    // As in S13.1: one request is refused for its time of signing.
    await expectUnharmed(rig, agents, {
      ...ROTATED,
      issuer: 3,
      counts: { calls: 3, obtained: 2, failures: 1, recoveries: 0 },
      terms: 2,
    });
  });
});
