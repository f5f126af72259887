/**
 * S13: the wall clock steps by an hour, both ways, under the holder, under its successor and under the
 * agents. Plans, leases and expiries run on monotonic clocks: nothing may come early, late or twice.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { fakeTime } from "./support/faketime.ts";
import { expectUnharmed } from "./support/oracle.ts";
import { published, putDown, says, standsBy, startLonelyScene } from "./support/scene.ts";
import type { RigOptions } from "./support/system-rig.ts";

const HOUR_SEC = 3600;
const LIFETIME_MS = 20_000;
const RATIO = 0.35;

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

const now = (): number => systemClock.now().mono;
const wallOf = (line: Readonly<Record<string, unknown>>): number =>
  Date.parse(String(line["time"]));
const rotating = { lifetimeMs: LIFETIME_MS, ratio: RATIO };

/** The renewal came when it was planned to: no earlier than its jitter, and no later than a little. */
function expectOnTime(first: { at: number }, second: { at: number }): void {
  const after = second.at - first.at;
  expect(after).toBeGreaterThan((RATIO - 0.02) * LIFETIME_MS - 2000);
  expect(after).toBeLessThan(RATIO * LIFETIME_MS + 4000);
}

describe("S13: the wall clock steps", () => {
  for (const [way, stepSec] of [
    ["forward", HOUR_SEC],
    ["back", -HOUR_SEC],
  ] as const) {
    it(`S13.1 an hour ${way} under the holder: the renewal is on time, nothing is done twice`, async () => {
      const clock = await fakeTime();
      const { rig, holder, agents } = await startLonelyScene({
        nats,
        redis,
        ...rotating,
        holderEnv: clock.env,
      });
      const first = await holder.until(published(1));
      await clock.step(stepSec);
      const second = await holder.until(published(2));
      // The fault was met: the holder's own log is an hour off.
      const stepped = (wallOf(second.fields) - systemClock.now().wall) / 1000;
      expect(Math.abs(stepped - stepSec)).toBeLessThan(60);
      expectOnTime(first, second);
      expect(holder.count(putDown)).toBe(0);
      // STS refuses one request that is signed with the stepped clock; the next one is corrected.
      expect(rig.sts.count("AssumeRole", "ok")).toBe(2);
      await expectUnharmed(rig, agents, {
        issuer: 3,
        counts: { calls: 3, obtained: 2, failures: 1, recoveries: 0 },
        generation: 2,
        runwayAboveMs: 8_000,
        terms: 1,
      });
    });

    it(`S13.3 an hour ${way} under the agents: none drops what it holds, none hands out what has expired`, async () => {
      const clock = await fakeTime();
      const { rig, holder, agents } = await startLonelyScene({
        nats,
        redis,
        ...rotating,
        agentsEnv: clock.env,
      });
      const since = now();
      await clock.step(stepSec);
      await agents.until(says("the wall clock has moved; measuring again"), since);
      await holder.until(published(2));
      await expectUnharmed(rig, agents, {
        issuer: 2,
        counts: { calls: 2, obtained: 2, failures: 0, recoveries: 0 },
        generation: 2,
        runwayAboveMs: 8_000,
        terms: 1,
      });
    });
  }

  async function successorOff(stepSec: number, options: Partial<RigOptions> = {}) {
    const clock = await fakeTime(stepSec);
    const scene = await startLonelyScene({ nats, redis, ...options });
    const standby = await scene.rig.coordinator("b", { env: clock.env });
    await standby.until(standsBy);
    const { term } = (await scene.holder.leads()).fields;
    await scene.holder.kill();
    const led = await standby.leads();
    const off = (wallOf(led.fields) - systemClock.now().wall) / 1000;
    expect(Math.abs(off - stepSec)).toBeLessThan(60);
    expect(Number(led.fields["term"])).toBeGreaterThan(Number(term));
    await scene.agents.untilAll((version) => version.term === led.fields["term"]);
    return { ...scene, standby };
  }

  it("S13.2 an hour back at the successor: it adopts, under a higher term, without an issuer call", async () => {
    const { rig, agents } = await successorOff(-HOUR_SEC);
    await expectUnharmed(rig, agents, {
      issuer: 1,
      counts: { calls: 1, obtained: 1, failures: 0, recoveries: 0 },
      generation: 1,
      runwayAboveMs: 8_000,
      terms: 2,
    });
  });

  it("S13.5 an hour back at the successor: it renews when its agents' credentials are due, not an hour later", async () => {
    const { rig, agents, standby } = await successorOff(-HOUR_SEC, rotating);
    await standby.until(published(2));
    expect(
      standby.count(says("an agent holds less life than this clock says: renewing")),
    ).toBeGreaterThan(0);
    await standby.until(published(3));
    await expectUnharmed(rig, agents, {
      // Signed an hour ago: refused once.
      issuer: 4,
      counts: { calls: 4, obtained: 3, failures: 1, recoveries: 0 },
      generation: 3,
      runwayAboveMs: 6_000,
      terms: 2,
    });
  });

  it("S13.4 an hour forward at the successor: it takes what it finds for expired, and obtains once", async () => {
    const { rig, agents, standby } = await successorOff(HOUR_SEC);
    await standby.until(published(2));
    // As in S13.1: one request is refused for its time of signing.
    await expectUnharmed(rig, agents, {
      issuer: 3,
      counts: { calls: 3, obtained: 2, failures: 1, recoveries: 0 },
      generation: 2,
      runwayAboveMs: 8_000,
      terms: 2,
    });
  });
});
