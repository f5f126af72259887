/** What every scenario is judged by, in exact numbers. */
import { expect } from "vitest";
import { type CallCounts, NO_CALLS } from "../../../src/coordinator/core/job-state.ts";
import type { AgentsProcess, LiveReport } from "./agents-process.ts";
import type { SystemRig } from "./system-rig.ts";

export interface Expected {
  /** Requests that STS has seen. */
  readonly issuer: number;
  /** As the state counts them; requests are left to STS. */
  readonly counts: Omit<CallCounts, "requests">;
  /** Of the job, in the end. */
  readonly generation: number;
  /** No agent's credential was ever nearer to its end. */
  readonly runwayAboveMs: number;
  /** Different terms under which agents have taken bundles since they were marked, at most. */
  readonly terms: number;
}

/** No agent without a credential, none with an old or expired one, and all calls accounted for (I1, I2, I3). */
export async function expectUnharmed(
  rig: SystemRig,
  agents: AgentsProcess,
  expected: Expected,
): Promise<readonly LiveReport[]> {
  await agents.untilGeneration(expected.generation);
  const { agents: reports } = await agents.report();
  const state = await rig.state();
  const { requests: _requests, ...counts } = state?.providers["lake"]?.counts ?? NO_CALLS;
  const sums = (pick: (report: LiveReport) => number): number =>
    reports.reduce((sum, report) => sum + pick(report), 0);
  expect({
    issuer: rig.sts.count(),
    counts,
    generation: state?.generation,
    generations: [...new Set(reports.map((report) => report.generation))],
    gaps: sums((report) => report.gaps),
    servedExpired: sums((report) => report.servedExpired),
    regressions: sums((report) => report.regressions),
    lookedAt: reports.every((report) => report.looks > 0),
  }).toEqual({
    issuer: expected.issuer,
    counts: expected.counts,
    generation: expected.generation,
    generations: [expected.generation],
    gaps: 0,
    servedExpired: 0,
    regressions: 0,
    lookedAt: true,
  });
  expect(counts.calls).toBe(counts.obtained + counts.failures + counts.recoveries);
  expect(termsSeen(reports)).toBeGreaterThan(0);
  expect(termsSeen(reports)).toBeLessThanOrEqual(expected.terms);
  expect(lowestRunway(reports)).toBeGreaterThan(expected.runwayAboveMs);
  return reports;
}

/** Since they were marked: a restart or a takeover with the same job key needs none. */
export function expectNoRegistration(reports: readonly LiveReport[]): void {
  expect(reports.map(({ registrations }) => registrations)).toEqual(reports.map(() => 0));
}

export const lowestRunway = (reports: readonly LiveReport[]): number =>
  Math.min(...reports.map((report) => report.lowestRunwayMs));

const termsSeen = (reports: readonly LiveReport[]): number =>
  new Set(reports.flatMap(({ versions }) => versions.map(([term]) => term))).size;
