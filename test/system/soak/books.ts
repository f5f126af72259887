/**
 * The job's counts over the whole soak, beside those of the issuer. They are part of the state: when
 * NATS is wiped, whoever comes first writes what it remembers, which may be less, or begins anew. So
 * they are taken up to each loss and from each recovery on, in moments when no call is under way.
 */
import {
  type CallCounts,
  type JobState,
  NO_CALLS,
} from "../../../src/coordinator/core/job-state.ts";
import { durationMs } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import type { AgentsProcess } from "../support/agents-process.ts";
import type { SystemRig } from "../support/system-rig.ts";

export interface Books {
  beforeLoss(): Promise<void>;
  afterLoss(): Promise<void>;
  close(): Promise<Closing>;
}

export interface Closing {
  /** All but what happened while a state was lost. */
  readonly counts: CallCounts;
  /** Calls that the issuer has seen in the same time. */
  readonly issuer: number;
  /** And those that it has seen between a loss and the recovery from it. */
  readonly issuerDuringLoss: number;
  /** Losses after which less was remembered than before. */
  readonly forgotten: number;
}

interface Page {
  readonly state: JobState;
  readonly counts: CallCounts;
  readonly issuer: number;
}

/** Renewals are 8 s apart: two looks in a row are hardly disturbed, ten never. */
const MOST_LOOKS = 10;

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => void systemClock.timer(durationMs(ms), resolve));

export function openBooks(rig: SystemRig): Books {
  let total = NO_CALLS;
  let issuer = 0;
  let issuerDuringLoss = 0;
  let forgotten = 0;
  /** Where the present stretch began. */
  let from: Pick<Page, "counts" | "issuer"> = { counts: NO_CALLS, issuer: 0 };
  let lost: Page | undefined;

  /** A moment between two calls, seen the same twice. */
  async function quiet(): Promise<Page> {
    for (;;) {
      const before = await idleState(rig);
      const calls = rig.sts.count();
      const after = before === undefined ? undefined : await idleState(rig);
      if (before !== undefined && after?.writeNonce === before.writeNonce) {
        if (rig.sts.count() === calls) {
          return { state: before, counts: countsOf(before), issuer: calls };
        }
      }
      await pause(100);
    }
  }

  async function closeStretch(): Promise<Page> {
    const page = await quiet();
    total = combine(total, page.counts, (a, b) => a + b);
    total = combine(total, from.counts, (a, b) => a - b);
    issuer += page.issuer - from.issuer;
    return page;
  }

  return {
    async beforeLoss() {
      lost = await closeStretch();
    },
    async afterLoss() {
      const page = await quiet();
      issuerDuringLoss += page.issuer - (lost?.issuer ?? page.issuer);
      if (page.counts.calls < (lost?.counts.calls ?? 0)) forgotten += 1;
      from = page;
    },
    async close() {
      await closeStretch();
      return { counts: total, issuer, issuerDuringLoss, forgotten };
    },
  };
}

/**
 * Whether every agent holds the generation of the state a second after a look at it. A rotation in between
 * makes it another question, which is asked again.
 */
export async function agentsHoldLast(rig: SystemRig, agents: AgentsProcess): Promise<boolean> {
  for (let look = 0; look < MOST_LOOKS; look += 1) {
    const before = await rig.state().catch(() => undefined);
    await pause(1000); // the agents take what is out
    const { agents: reports } = await agents.report();
    const after = await rig.state().catch(() => undefined);
    if (before === undefined || after?.generation !== before.generation) continue;
    return reports.every(({ generation }) => generation === after.generation);
  }
  return false;
}

/** Undefined while the store is away, or a call may be under way. */
async function idleState(rig: SystemRig): Promise<JobState | undefined> {
  const state = await rig.state().catch(() => undefined);
  const record = state?.providers["lake"];
  return record?.credential === undefined || record.intent !== undefined ? undefined : state;
}

const countsOf = (state: JobState): CallCounts => state.providers["lake"]?.counts ?? NO_CALLS;

const combine = (
  a: CallCounts,
  b: CallCounts,
  by: (a: number, b: number) => number,
): CallCounts => ({
  calls: by(a.calls, b.calls),
  obtained: by(a.obtained, b.obtained),
  failures: by(a.failures, b.failures),
  recoveries: by(a.recoveries, b.recoveries),
  requests: by(a.requests, b.requests),
});
