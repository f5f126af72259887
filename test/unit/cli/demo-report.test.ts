import { describe, expect, it } from "vitest";
import { gapMeasure } from "../../../src/cli/demo/client.ts";
import { type DemoFindings, renderReport, reportOf } from "../../../src/cli/demo/report.ts";
import { rotationLog } from "../../../src/cli/demo/rotation-log.ts";
import type { JobStatus, RotationStatus } from "../../../src/protocol/control.ts";
import { monoMs } from "../../../src/protocol/time.ts";

const rotation = (generation: number, over: Partial<RotationStatus> = {}): RotationStatus => ({
  id: `g${generation}`,
  providers: ["lake"],
  reason: generation === 1 ? "initial" : "scheduled",
  generation,
  term: 1,
  state: "done",
  issuerCalls: 1,
  applied: 3,
  missing: [],
  publishToLastAckMs: 12.4,
  ...over,
});

const findings = (over: Partial<DemoFindings> = {}): DemoFindings => ({
  agents: 3,
  issuerCalls: 2,
  refusals: {},
  rotations: [rotation(1), rotation(2, { reason: "forced" })],
  expected: () => 3,
  lifetimeMs: 8000,
  durationMs: 25_000,
  client: { calls: 250, failed: 0, longestGapMs: 0, errors: {} },
  credentialsUsed: 2,
  ...over,
});

describe("the demo's report", () => {
  it("has the pinned shape", () => {
    expect(reportOf(findings())).toMatchObject({
      agents: 3,
      issuerCalls: 2,
      longestGapMs: 0,
      refusedMessages: 0,
      rotations: [
        {
          provider: "lake",
          generation: 1,
          reason: "initial",
          issuerCalls: 1,
          publishToLastAckMs: 12,
          applied: 3,
          missing: [],
        },
        { generation: 2, reason: "forced" },
      ],
      faults: [],
    });
  });

  it.each([
    ["a gap", { client: { calls: 9, failed: 1, longestGapMs: 120, errors: {} } }, "120 ms"],
    ["a client that never called", { client: undefined }, "no call"],
    ["an issuer call too many", { issuerCalls: 3 }, "3 issuer calls for 2 generations"],
    [
      "an agent that has not applied",
      { rotations: [rotation(1), rotation(2, { reason: "forced", applied: 2 })] },
      "generation 2 was applied by 2 of 3 agents",
    ],
    [
      "an agent that went away",
      { rotations: [rotation(1, { missing: ["a-2"] }), rotation(2, { reason: "forced" })] },
      "missing a-2",
    ],
    ["agents that never came", { agents: 4 }, "not all 4 agents"],
    ["no forced rotation", { rotations: [rotation(1), rotation(2)] }, "no rotation was forced"],
  ] satisfies [string, Partial<DemoFindings>, string][])("finds %s", (_, over, fault) => {
    const report = reportOf(findings(over));
    expect(report.faults.join("; ")).toContain(fault);
    expect(renderReport(report)).toContain("NOT AS PROMISED");
  });

  it("adds up refusals over all codes", () => {
    const refusals = { MESSAGE_FORGED: 2, MESSAGE_REPLAYED: 1 };
    expect(reportOf(findings({ refusals })).refusedMessages).toBe(3);
  });
});

describe("the client's gap", () => {
  const at = monoMs;

  it("is 0 while every call succeeds", () => {
    const measure = gapMeasure();
    for (const began of [0, 100, 200]) measure.succeeded(at(began));
    expect(measure.totals(at(300))).toMatchObject({ calls: 3, failed: 0, longestGapMs: 0 });
  });

  it("lasts from the first failed call's begin to the begin of the next good one", () => {
    const measure = gapMeasure();
    measure.succeeded(at(0));
    measure.failed(at(100), "ExpiredToken");
    measure.failed(at(200), "ExpiredToken");
    measure.succeeded(at(300));
    expect(measure.totals(at(400))).toMatchObject({
      failed: 2,
      longestGapMs: 200,
      errors: { ExpiredToken: 2 },
    });
  });

  it("is not ended by a good call that began before it", () => {
    const measure = gapMeasure();
    measure.failed(at(100), "x");
    measure.succeeded(at(50));
    expect(measure.totals(at(600)).longestGapMs).toBe(500);
  });

  it("is never 0 once a call has failed", () => {
    const measure = gapMeasure();
    measure.failed(at(100), "x");
    measure.succeeded(at(100));
    expect(measure.totals(at(100)).longestGapMs).toBeGreaterThan(0);
  });
});

describe("the demo's log of rotations", () => {
  const status = (upToDate: number, ...rotations: RotationStatus[]): JobStatus => ({
    tenant: "default",
    job: "demo",
    phase: "leading",
    term: 1,
    generation: rotations.at(-1)?.generation ?? 0,
    ready: true,
    reasons: [],
    providers: [],
    agents: { live: upToDate, lost: 0, upToDate },
    rotations,
    refused: {},
    warnings: [],
  });

  it("tells of each rotation once, when it has ended", () => {
    const log = rotationLog();
    expect(log.take(status(3, rotation(1, { state: "delivering" })))).toEqual([]);
    expect(log.take(status(3, rotation(1)))).toHaveLength(1);
    expect(log.take(status(3, rotation(1)))).toEqual([]);
  });

  it("keeps what the coordinator has forgotten", () => {
    const log = rotationLog();
    log.take(status(3, rotation(1)));
    log.take(status(3, rotation(2)));
    expect(log.all().map(({ generation }) => generation)).toEqual([1, 2]);
  });

  it("expects of a generation those who came while it was the newest", () => {
    const log = rotationLog();
    log.take(status(2, rotation(1, { applied: 2 })));
    log.take(status(3, rotation(1, { applied: 2 }), rotation(2)));
    expect(log.expected(1)).toBe(2);
    expect(log.expected(2)).toBe(3);
    expect(log.settled()).toBe(true);
  });

  it("is not settled while a rotation is under way", () => {
    const log = rotationLog();
    expect(log.settled()).toBe(false);
    log.take(status(3, rotation(1), rotation(2, { state: "delivering" })));
    expect(log.settled()).toBe(false);
  });
});
