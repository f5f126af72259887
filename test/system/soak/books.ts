/**
 * The job's counts over the whole soak. They are part of the state, and so are lost with it when
 * nobody who remembers it comes back in time: what was counted before is carried on here.
 */
import type { CallCounts, JobState } from "../../../src/coordinator/core/job-state.ts";
import { NO_CALLS } from "../../../src/coordinator/core/job-state.ts";
import { durationMs } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import type { SystemRig } from "../support/system-rig.ts";

export interface Books {
  /** Waits until no call is under way, and notes what is counted. */
  beforeLoss(): Promise<void>;
  /** Waits until there is a state again, and notes whether it is the one that was. */
  afterLoss(): Promise<void>;
  /** Once no call is under way: all that was counted, and the state that stands. */
  close(): Promise<{
    readonly counts: CallCounts;
    readonly state: JobState;
    /** How often the job had to begin anew. */
    readonly begunAnew: number;
  }>;
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => void systemClock.timer(durationMs(ms), resolve));

export function openBooks(rig: SystemRig): Books {
  let carried = NO_CALLS;
  let before: JobState | undefined;
  let begunAnew = 0;

  /** Between two rotations. */
  async function quiet(): Promise<JobState> {
    for (;;) {
      const state = await readState(rig);
      const intent = state?.providers["lake"]?.intent;
      const credential = state?.providers["lake"]?.credential;
      if (state !== undefined && credential !== undefined && intent === undefined) return state;
      await pause(100);
    }
  }

  return {
    async beforeLoss() {
      before = await quiet();
    },
    async afterLoss() {
      const after = await quiet();
      if (before === undefined || countsOf(after).calls >= countsOf(before).calls) return;
      carried = add(carried, countsOf(before));
      begunAnew += 1;
    },
    async close() {
      for (;;) {
        const state = await quiet();
        await pause(1000); // the agents take what is out
        const again = await quiet();
        if (countsOf(again).calls === countsOf(state).calls && again.term === state.term) {
          return { counts: add(carried, countsOf(state)), state, begunAnew };
        }
      }
    },
  };
}

/** Undefined while the store is away. */
const readState = (rig: SystemRig): Promise<JobState | undefined> =>
  rig.state().catch(() => undefined);

const countsOf = (state: JobState): CallCounts => state.providers["lake"]?.counts ?? NO_CALLS;

const add = (a: CallCounts, b: CallCounts): CallCounts => ({
  calls: a.calls + b.calls,
  obtained: a.obtained + b.obtained,
  failures: a.failures + b.failures,
  recoveries: a.recoveries + b.recoveries,
  requests: a.requests + b.requests,
});
