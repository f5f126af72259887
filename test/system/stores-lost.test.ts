/**
 * S6: NATS, Redis and both are killed, frozen and wiped. Each file has servers of its own: a wipe
 * would take other jobs with it.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { eventually } from "../support/eventually.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { expectUnharmed } from "./support/oracle.ts";
import { expectOnTime, KEPT, RENEWED } from "./support/outcomes.ts";
import {
  AGENTS,
  CYCLE,
  endCycle,
  published,
  putDown,
  says,
  startCyclingScene,
  startLonelyScene,
  startScene,
} from "./support/scene.ts";
import { STALL_MS, STEADY, TIMING } from "./support/system-rig.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

const now = (): number => systemClock.now().mono;
/** How long a fault lasts is part of the scenario. */
const lasting = (ms: number): Promise<void> =>
  new Promise((resolve) => void systemClock.timer(durationMs(ms), resolve));
const isPut = (line: Readonly<Record<string, unknown>>): boolean => line["msg"] === "leading";

/** Ends once somebody leads and its bundle is out after `since`, and says under which term. */
async function leadsAgain(rig: Awaited<ReturnType<typeof startScene>>["rig"]): Promise<number> {
  const operator = await rig.operator();
  for (;;) {
    const status = await operator.status().catch(() => undefined);
    if (status?.phase === "leading" && status.ready && status.agents.upToDate === AGENTS) {
      return status.term;
    }
    await lasting(100);
  }
}

describe("S6: NATS is lost", () => {
  it("S6.1 killed and started again: everybody goes on, without an issuer call", async () => {
    const { rig, holder, standby, agents } = await startScene({ nats, redis });
    await nats.kill();
    await agents.untilGeneration(1);
    await lasting(1500);
    await eventually(async () =>
      (await agents.report()).agents.every(({ connected }) => !connected),
    );
    await nats.restart();
    await leadsAgain(rig);
    expect([holder.isAlive(), standby.isAlive()]).toEqual([true, true]);
    await expectUnharmed(rig, agents, { ...KEPT, terms: 2 });
  });

  it("S6.2 frozen past the lease: the holder puts it down before anybody could take it, one leads after", async () => {
    // Two margins lie between the holder's end and the moment in which the lease may be taken.
    const timing = { leaseTtlSec: 5, leaseMarginSec: 2 };
    const takenMs = (timing.leaseTtlSec + timing.leaseMarginSec) * 1000;
    const { rig, holder, standby, agents } = await startScene({ nats, redis, timing });
    const frozen = now();
    nats.freeze();
    const down = await holder.until(putDown, frozen);
    // It had renewed at most a renewal ago, and a stall may be on top of what it waits by right.
    const waitsMs = (timing.leaseTtlSec - timing.leaseMarginSec) * 1000;
    expect(down.at - frozen).toBeLessThan(waitsMs + STALL_MS);
    expect(waitsMs + STALL_MS).toBeLessThan(takenMs - TIMING.leaseRenewSec * 1000);
    expect(standby.count(isPut)).toBe(0);
    await lasting(takenMs + 500 - (now() - frozen));
    nats.thaw();
    const term = await leadsAgain(rig);
    const leaders = [holder, standby].filter(
      (c) => c.count((line) => isPut(line) && line["term"] === term) > 0,
    );
    expect(leaders).toHaveLength(1);
    await expectUnharmed(rig, agents, { ...KEPT, terms: 3 });
  });

  it("S6.3 wiped, the lease still alive: the holder rewrites lease, state and bundle from memory", async () => {
    const { rig, holder, standby, agents } = await startScene({
      nats,
      redis,
      // The client's pause before it connects again must fit into the lease.
      timing: STEADY,
    });
    const { term } = (await holder.leads()).fields;
    const wiped = now();
    await nats.wipe();
    await holder.until(says("the store was lost: rewriting lease, state and bundle"), wiped);
    await holder.until(published(1, term), wiped);
    expect(await leadsAgain(rig)).toBe(term);
    expect(standby.count(isPut)).toBe(0);
    await expectUnharmed(rig, agents, KEPT);
  });

  it("S6.4 wiped while away past the lease: the holder's memory is the truth, agents go on", async () => {
    const { rig, holder, agents } = await startLonelyScene({ nats, redis });
    const { term } = (await holder.leads()).fields;
    const away = now();
    await nats.kill();
    await holder.until(putDown, away);
    await nats.wipe();
    const again = await holder.leads(away);
    expect(again.fields["term"]).toBeGreaterThan(Number(term));
    await leadsAgain(rig);
    await expectUnharmed(rig, agents, { ...KEPT, terms: 2 });
  });
});

describe("S7: Redis is lost", () => {
  const late = says("the queue is late: the watchdog renews");

  it("S7.1 killed before a renewal: the watchdog renews on time, the queue takes over again after", async () => {
    const { rig, holder, agents, issuedAt } = await startCyclingScene({ nats, redis });
    const away = now();
    await redis.kill();
    await holder.until(says("Redis is away: renewals run on the local watchdog"), away);
    expectOnTime(issuedAt, await holder.until(published(3), away));
    endCycle(rig);
    await redis.restart();
    await holder.until(published(4));
    await expectUnharmed(rig, agents, {
      ...RENEWED,
      issuer: 4,
      counts: { ...RENEWED.counts, calls: 4, obtained: 4 },
      generation: 4,
    });
  });

  it("S7.2 frozen through a renewal: it is on time all the same", async () => {
    const { rig, holder, agents, issuedAt } = await startCyclingScene({ nats, redis });
    endCycle(rig);
    const away = now();
    redis.freeze();
    await holder.until(says("Redis is away: renewals run on the local watchdog"), away);
    expectOnTime(issuedAt, await holder.until(published(3), away));
    redis.thaw();
    await expectUnharmed(rig, agents, RENEWED);
  });

  it("S7.3 wiped: the reconciler puts the plan back, and the queue raises it in time", async () => {
    // The watchdog gives the queue longer than the machine may stand still: it acts for a lost plan alone.
    const timing = { ...STEADY, watchdogGraceSec: 4 };
    expect(timing.watchdogGraceSec * 1000).toBeGreaterThan(STALL_MS);
    const { rig, holder, agents, issuedAt } = await startCyclingScene({ nats, redis, timing });
    endCycle(rig);
    const wiped = now();
    await redis.wipe();
    expectOnTime(issuedAt, await holder.until(published(3), wiped));
    // Whether by the reconnect or by the reconciler: the plan was there again, nobody had to wait.
    expect(holder.count(late, wiped)).toBe(0);
    await expectUnharmed(rig, agents, RENEWED);
  });
});

describe("S8: both stores are lost", () => {
  it("S8.1 wiped at once under a living holder: no issuer call, no gap", async () => {
    const { rig, agents, holder } = await startScene({ nats, redis });
    const wiped = now();
    await Promise.all([nats.wipe(), redis.wipe()]);
    await holder.until(
      (line) => String(line["msg"]).includes("store was lost") || putDown(line),
      wiped,
    );
    await leadsAgain(rig);
    await expectUnharmed(rig, agents, { ...KEPT, terms: 3 });
  });

  it("S8.2 both killed through a planned renewal: it is made up for as soon as they are back", async () => {
    // The plan comes after 8 s, later than the end of the lease, which ends by its time here.
    const planMs = 8000;
    const cycle = { ...CYCLE, ratio: planMs / CYCLE.lifetimeMs };
    const { rig, holder, agents } = await startCyclingScene({ nats, redis, timing: TIMING }, cycle);
    endCycle(rig);
    const away = now();
    await Promise.all([nats.kill(), redis.kill()]);
    await holder.until(putDown, away);
    // It passes while nobody may act on it.
    await lasting(planMs + 1000 - (now() - away));
    expect(rig.sts.count()).toBe(2);
    await Promise.all([nats.restart(), redis.restart()]);
    const back = now();
    const out = await holder.until(published(3), back);
    expect(out.at - back).toBeLessThan(8000 + STALL_MS);
    await expectUnharmed(rig, agents, {
      ...KEPT,
      issuer: 3,
      counts: { calls: 3, obtained: 3, failures: 0, recoveries: 0 },
      generation: 3,
      // The plan, the time away, and what it took to be back.
      runwayAboveMs: cycle.lifetimeMs - (planMs + 1000 + 8000 + 2 * STALL_MS),
      terms: 2,
    });
  });
});
