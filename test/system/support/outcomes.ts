/**
 * What a job has come to in the end, for `expectUnharmed`. One coordinator has led throughout: a scenario
 * with a successor says how many terms there were.
 */
import { expect } from "vitest";
import type { Expected } from "./oracle.ts";
import { CYCLE } from "./scene.ts";
import { CALL_TIMEOUT_MS, STALL_MS, TIMING, UNHURRIED_MS } from "./system-rig.ts";

/** All agents still hold what was obtained first. */
export const KEPT: Expected = {
  issuer: 1,
  counts: { calls: 1, obtained: 1, failures: 0, recoveries: 0 },
  generation: 1,
  runwayAboveMs: UNHURRIED_MS,
  terms: 1,
};

/** One rotation that was asked for, and nothing of it was lost. */
export const ROTATED: Expected = {
  ...KEPT,
  issuer: 2,
  counts: { calls: 2, obtained: 2, failures: 0, recoveries: 0 },
  generation: 2,
};

/** One rotation whose first call was lost with its coordinator. */
export const RECOVERED: Expected = {
  ...ROTATED,
  issuer: 3,
  counts: { calls: 3, obtained: 2, failures: 0, recoveries: 1 },
};

/** At a renewal that is on time, and through a takeover, half of a cycling scene's life is never used up. */
export const IN_TIME_MS = CYCLE.lifetimeMs / 2;

/** Of a cycling scene: generation 2 has been renewed, once and in time. */
export const RENEWED: Expected = {
  issuer: 3,
  counts: { calls: 3, obtained: 3, failures: 0, recoveries: 0 },
  generation: 3,
  runwayAboveMs: IN_TIME_MS,
  terms: 1,
};

/**
 * The first renewal of a cycling scene came when it was planned to. No earlier than its jitter allows, and the
 * skew that an answer which took all of its time may be thought to have. No later than two waits for a queue
 * that is late, two calls (one may be refused) and the shortest retry take, on a machine that stands still
 * meanwhile.
 */
export function expectOnTime(issuedAt: number, renewed: { readonly at: number }): void {
  const planMs = CYCLE.ratio * CYCLE.lifetimeMs;
  const after = renewed.at - issuedAt;
  expect(after).toBeGreaterThan(planMs - 0.02 * CYCLE.lifetimeMs - CALL_TIMEOUT_MS - 1000);
  const attempt = TIMING.watchdogGraceSec * 1000 + CALL_TIMEOUT_MS;
  expect(after).toBeLessThan(planMs + 2 * attempt + 1000 + STALL_MS);
}
