/** S14: the issuer is down for several lifetimes, and comes back. What can't be renewed ends, and is never served late. */
import { beforeAll, describe, expect, it } from "vitest";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { AGENTS, askForRotation, published, says, startLonelyScene } from "./support/scene.ts";
import { CALL_TIMEOUT_MS, STALL_MS, STEADY, TIMING } from "./support/system-rig.ts";

const LIFETIME_MS = 5_000;
const DOWN_MS = 4 * LIFETIME_MS;

/** The failures to expect at least: every wait at its longest (jitter 1.5), raised as late as the watchdog allows. */
function fewestFailures(callMs: number): number {
  const outageMs = DOWN_MS - LIFETIME_MS;
  let failures = 0;
  for (let at = callMs; at < outageMs; at += callMs + TIMING.watchdogGraceSec * 1000) {
    failures += 1;
    at += Math.min(TIMING.retryFirstSec * 2 ** (failures - 1), TIMING.retryMaxSec) * 1500;
  }
  return failures;
}

/** How long the next credential may take once the issuer is back: a call just begun, the longest wait, and the watchdog's. */
function latestRecovery(callMs: number): number {
  return callMs + TIMING.retryMaxSec * 1500 + TIMING.watchdogGraceSec * 1000 + STALL_MS;
}

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

describe("S14: the issuer is down for four lifetimes", () => {
  for (const how of ["fail5xx", "hang"] as const) {
    it(`S14.1 ${how}: served to the end and not beyond, retried within bounds, back at the first answer`, async () => {
      const callMs = how === "hang" ? CALL_TIMEOUT_MS : 0;
      const { rig, holder, agents } = await startLonelyScene({ nats, redis, timing: STEADY });
      // The first one lives long: this one's short life must not pass while processes start.
      rig.sts.knobs.lifetimeMs = LIFETIME_MS;
      await askForRotation(rig);
      await agents.untilGeneration(2);
      const calls: number[] = [];
      rig.sts.onCall = () => void calls.push(systemClock.now().mono);
      rig.sts.knobs[how] = true;
      const down = systemClock.now().mono;
      await agents.until(says("gap"), down);
      const over = new Promise<void>((resolve) => {
        systemClock.timer(durationMs(DOWN_MS - (systemClock.now().mono - down)), resolve);
      });
      await over;
      const { agents: during } = await agents.report();
      expect(during.map(({ gaps, servedExpired }) => [gaps, servedExpired])).toEqual(
        Array.from({ length: AGENTS }, () => [1, 0]),
      );
      rig.sts.knobs[how] = false;
      const back = systemClock.now().mono;
      const next = await holder.until(published(3), back);
      expect(next.at - back).toBeLessThan(latestRecovery(callMs));
      await agents.untilGeneration(3);
      const { agents: reports } = await agents.report();
      expect(
        reports.map(({ gaps, servedExpired, regressions }) => [gaps, servedExpired, regressions]),
      ).toEqual(Array.from({ length: AGENTS }, () => [1, 0, 0]));
      // The gap began at the expiry and no later, and ended with the new credential.
      for (const { longestGapMs } of reports) {
        expect(longestGapMs).toBeGreaterThan(DOWN_MS - LIFETIME_MS - STALL_MS);
        expect(longestGapMs).toBeLessThan(DOWN_MS + latestRecovery(callMs));
      }
      // I3, I11: every call is accounted for, and none came within a second of another.
      const counts = (await rig.state())?.providers["lake"]?.counts;
      expect(counts?.calls).toBe(
        (counts?.obtained ?? 0) + (counts?.failures ?? 0) + (counts?.recoveries ?? 0),
      );
      expect(counts).toMatchObject({ obtained: 3, recoveries: 0 });
      const fewest = fewestFailures(callMs);
      expect(fewest).toBeGreaterThan(1);
      expect(counts?.failures).toBeGreaterThanOrEqual(fewest);
      expect(rig.sts.count()).toBe(counts?.calls);
      const gaps = calls.slice(1).map((at, index) => at - (calls[index] ?? 0));
      expect(Math.min(...gaps)).toBeGreaterThan(900);
    });
  }
});
