/** What was obtained becomes content of the next generation: one for all that came in together. */
import type { Credential } from "../../protocol/credential.ts";
import type { Turn } from "./core.ts";
import type { JobState, ProviderRecord } from "./job-state.ts";
import { withRecord } from "./provider-run.ts";
import { jitterOf, renewAtOf } from "./receipt.ts";
import type { CoreSettings, ProviderSettings } from "./settings.ts";
import { changeTruth } from "./writer.ts";

function planOf(
  settings: CoreSettings,
  provider: ProviderSettings,
  credential: Credential,
): Pick<ProviderRecord, "credential" | "renewAt" | "jitter"> {
  const jitter = jitterOf(settings, credential, credential.generation);
  return { credential, jitter, renewAt: renewAtOf(settings, provider, credential, jitter) };
}

/** Merges all that was obtained meanwhile into the next state: one new generation for all of it. */
export function mergeObtained(turn: Turn): void {
  const { core } = turn;
  const ready = [...core.providers.values()].flatMap((run) =>
    run.phase.kind === "obtained" ? [{ run, phase: run.phase }] : [],
  );
  if (ready.length === 0) return;
  const seq = changeTruth(turn, (state) => {
    const generation = state.generation + 1;
    let next: JobState = { ...state, generation };
    for (const { run, phase } of ready) {
      next = withRecord(next, run, (record) => ({
        configDigest: run.settings.configDigest,
        ...planOf(core.settings, run.settings, { ...phase.receipt.credential, generation }),
        attempt: 0,
        intent: undefined,
        counts: { ...record.counts, obtained: record.counts.obtained + 1 },
      }));
      next = {
        ...next,
        tombstones: next.tombstones.filter((t) => t.provider !== run.settings.name),
      };
    }
    return next;
  });
  for (const { run, phase } of ready) {
    run.phase = { ...phase, kind: "recording", seq };
  }
  core.rotations.obtained(
    turn,
    ready.map(({ run, phase }) => {
      const calls = run.callsForNext;
      run.callsForNext = 0;
      return { provider: run.settings.name, reason: phase.reason, calls };
    }),
  );
}
