/**
 * `npm run soak -- --minutes N [--seed S] [--agents A]`: one job with lifetimes of 20 s, two
 * coordinators, and a random fault every 5 s. Ends with 0 when no agent was ever without a valid
 * credential, every issuer call is accounted for, and memory and handles are flat; with 1 otherwise.
 * The last line is JSON.
 */
import { durationMs } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { Chance } from "../../simulation/chance.ts";
import { endServers, startNats, startRedis } from "../../support/server-processes.ts";
import type { CoordinatorProcess } from "../support/system-rig.ts";
import { AGENT_TIMINGS, buildRig, TIMING } from "../support/system-rig.ts";
import { soakOptions } from "./arguments.ts";
import { agentsHoldLast, openBooks } from "./books.ts";
import { FAULTS, type FaultName, WEIGHTS } from "./faults.ts";
import { flatness, type Sample } from "./flatness.ts";

const LIFETIME_MS = 20_000;
/** Of 20 s: 12 s are left after a planned renewal, for a takeover, a call, and a second fault on top. */
const RATIO = 0.4;
const FAULT_EVERY_MS = 5_000;
const SETTLE_MS = 10_000;
/** A lease of 2 s, and a call that ends well within it. */
const SOAK_TIMING = {
  leaseTtlSec: 2,
  leaseMarginSec: 0.4,
  leaseRenewSec: 0.4,
  leaseWatchSec: 0.2,
  retryFirstSec: 1,
  retryMaxSec: 1.5,
} as const;
const CALL_TIMEOUT_SEC = 1;

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const now = (): number => systemClock.now().mono;
const until = (at: number): Promise<void> =>
  new Promise((resolve) => void systemClock.timer(durationMs(Math.max(0, at - now())), resolve));

const options = soakOptions(process.argv.slice(2));
const chance = new Chance(options.seed);
const closers: (() => Promise<unknown>)[] = [endServers];

async function soak(): Promise<boolean> {
  const [nats, redis] = await Promise.all([startNats(), startRedis()]);
  const rig = await buildRig(
    {
      nats,
      redis,
      lifetimeMs: LIFETIME_MS,
      ratio: RATIO,
      timing: SOAK_TIMING,
      callTimeoutSec: CALL_TIMEOUT_SEC,
    },
    (close) => closers.push(close),
  );
  let mortal = await rig.coordinator("a");
  await mortal.leads();
  const steady = await rig.coordinator("b");
  const agents = await rig.agents({ count: options.agents });
  await agents.untilGeneration(1);
  await agents.mark();
  say(
    `soak: ${options.minutes} min, seed ${options.seed}, ${options.agents} agents, lifetime ${LIFETIME_MS / 1000} s, renewal at ${RATIO * 100} %, a fault every ${FAULT_EVERY_MS / 1000} s`,
  );
  say(
    `intervals: ${JSON.stringify({ ...TIMING, ...SOAK_TIMING, callTimeoutSec: CALL_TIMEOUT_SEC })}`,
  );
  say(`agents' intervals: ${JSON.stringify(AGENT_TIMINGS)}`);

  const faults: Partial<Record<FaultName, { count: number; met: number }>> = {};
  const usage = {
    agentsHeap: [] as Sample[],
    agentsHandles: [] as Sample[],
    coordinatorHeap: [] as Sample[],
    coordinatorHandles: [] as Sample[],
  };
  const sample = async (): Promise<void> => {
    const { process: own } = await agents.report();
    usage.agentsHeap.push({ at: now(), value: own.heapUsed });
    usage.agentsHandles.push({ at: now(), value: own.resources });
    const metrics = await steady.metrics();
    const heap = metrics["nodejs_heap_size_used_bytes"];
    const handles = metrics["nodejs_active_resources_total"];
    if (heap !== undefined) usage.coordinatorHeap.push({ at: now(), value: heap });
    if (handles !== undefined) usage.coordinatorHandles.push({ at: now(), value: handles });
  };

  const terms = new Set<unknown>();
  const books = openBooks(rig);
  const ends = now() + options.minutes * 60_000;
  // One that lasted longer than the pause is followed by a pause all the same.
  const following = (next: number): number => Math.max(next + FAULT_EVERY_MS, now() + 2000);
  for (let next = now() + FAULT_EVERY_MS; next < ends; next = following(next)) {
    await sample();
    await until(next);
    const name = chance.weighted(WEIGHTS);
    const began = now();
    const met = await FAULTS[name]({
      rig,
      nats,
      redis,
      chance,
      steady,
      books,
      mortal: () => mortal,
      async restart() {
        noteTerms(mortal, terms);
        mortal = await rig.coordinator("a");
      },
    });
    const book = faults[name] ?? { count: 0, met: 0 };
    faults[name] = { count: book.count + 1, met: book.met + (met ? 1 : 0) };
    const { agents: seen } = await agents.report();
    const lowest = Math.min(...seen.map(({ lowestRunwayMs }) => lowestRunwayMs));
    const gaps = seen.reduce((sum, report) => sum + report.gaps, 0);
    say(
      `${((options.minutes * 60_000 - (ends - began)) / 1000).toFixed(0).padStart(5)} s  ${name}${met ? "" : " (met nothing)"}, ${((now() - began) / 1000).toFixed(1)} s; generation ${Math.max(...seen.map((r) => r.generation))}, lowest runway so far ${(lowest / 1000).toFixed(1)} s, gaps ${gaps}`,
    );
  }
  await until(now() + SETTLE_MS);
  noteTerms(mortal, terms);
  noteTerms(steady, terms);
  const { counts, issuer, issuerDuringLoss, forgotten } = await books.close();
  const upToDate = await agentsHoldLast(rig, agents);
  const { agents: reports } = await agents.report();
  const sum = (pick: (report: (typeof reports)[number]) => number): number =>
    reports.reduce((total, report) => total + pick(report), 0);
  const flat = {
    agentsHeapMB: inMegabytes(flatness(usage.agentsHeap, 8e6)),
    agentsHandles: flatness(usage.agentsHandles, 5),
    coordinatorHeapMB: inMegabytes(flatness(usage.coordinatorHeap, 8e6)),
    coordinatorHandles: flatness(usage.coordinatorHandles, 5),
  };
  const lost = counts.calls - issuer;
  const checks = {
    "no agent was ever without a credential": sum((r) => r.gaps) === 0,
    "no expired credential was handed out (I2)": sum((r) => r.servedExpired) === 0,
    "no agent went back (I1)": sum((r) => r.regressions) === 0,
    "every agent holds the last generation": upToDate,
    "calls = generations + failures + recoveries (I3)":
      counts.calls === counts.obtained + counts.failures + counts.recoveries,
    "a call that STS has not seen is one whose coordinator or connection died":
      lost >= 0 && lost <= counts.recoveries + counts.failures,
    "a lost state costs two calls at most": issuerDuringLoss <= 2 * forgotten + lossesOf(faults),
    "every planned rotation came":
      counts.obtained >= Math.floor((options.minutes * 60_000) / LIFETIME_MS),
    "memory is flat": flat.agentsHeapMB.flat && flat.coordinatorHeapMB.flat,
    "handles are flat": flat.agentsHandles.flat && flat.coordinatorHandles.flat,
  };
  for (const [claim, holds] of Object.entries(checks)) say(`${holds ? "yes" : "NO "}  ${claim}`);
  const good = Object.values(checks).every(Boolean);
  say(
    JSON.stringify({
      passed: good,
      minutes: options.minutes,
      seed: options.seed,
      agents: options.agents,
      generations: counts.obtained,
      forgotten,
      terms: terms.size,
      issuerCalls: issuer,
      issuerCallsDuringLoss: issuerDuringLoss,
      counts,
      gaps: sum((r) => r.gaps),
      lowestRunwayMs: Math.round(Math.min(...reports.map((r) => r.lowestRunwayMs))),
      looks: sum((r) => r.looks),
      faults,
      flat,
    }),
  );
  return good;
}

/** A rotation may happen to be due just then. */
const lossesOf = (faults: Partial<Record<FaultName, { count: number }>>): number =>
  faults["nats-server wiped"]?.count ?? 0;

function noteTerms(coordinator: CoordinatorProcess, terms: Set<unknown>): void {
  for (const { fields } of coordinator.lines) {
    if (fields["msg"] === "leading") terms.add(fields["term"]);
  }
}

const inMegabytes = (found: ReturnType<typeof flatness>) => ({
  first: Math.round(found.first / 1e5) / 10,
  last: Math.round(found.last / 1e5) / 10,
  slopePerMinute: Math.round(found.slopePerMinute / 1e4) / 100,
  flat: found.flat,
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    for (const close of closers.reverse()) void close().catch(() => undefined);
    process.exit(1); // the children end with this process
  });
}
let passed = false;
try {
  passed = await soak();
} finally {
  for (const close of closers.reverse()) await close().catch(() => undefined);
}
process.exit(passed ? 0 : 1);
