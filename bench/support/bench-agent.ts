/**
 * A real agent, put together as `joinJob` does it, but for one thing: whether it opens each bundle for
 * itself, or takes what the first agent of this process opened. The second is the same rotation with the
 * agents' own opening apart: on machines of their own they open at the same time, here one after the other.
 */
import type { Bundle } from "../../src/protocol/bundle.ts";
import type { Done, Outcome } from "../../src/protocol/outcome.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import {
  IN_PROCESS,
  inProcessReceivers,
} from "../../src/worker-agent/adapters/in-process/in-process-receivers.ts";
import { joseOpener } from "../../src/worker-agent/adapters/jose-opener/jose-opener.ts";
import { type Composed, composeAgent } from "../../src/worker-agent/compose.ts";
import { parseAgentConfig } from "../../src/worker-agent/config.ts";
import type { Receivers } from "../../src/worker-agent/ports/receivers.ts";

export type Opening = "open-each" | "open-apart";
export type BenchAgent = Composed<Receivers>;

let how: Opening = "open-each";

/** Of the bundles that come from now on, for all agents of this process. */
export function setOpening(next: Opening): void {
  how = next;
}

/** The bundle that was opened last in this process, or is being opened, and who waits for it. */
let shared: { sealed: Uint8Array; outcome?: Outcome<Bundle>; waiting: Done<Bundle>[] } | undefined;

const benchOpener: typeof joseOpener = (id, keys) => {
  const jose = joseOpener(id, keys);
  return {
    open(sealed, using, done) {
      if (how === "open-each") return jose.open(sealed, using, done);
      if (shared !== undefined && Buffer.compare(shared.sealed, sealed) === 0) {
        if (shared.outcome === undefined) shared.waiting.push(done);
        else done(shared.outcome);
        return;
      }
      const mine: NonNullable<typeof shared> = { sealed, waiting: [done] };
      shared = mine;
      jose.open(sealed, using, (outcome) => {
        mine.outcome = outcome;
        for (const each of mine.waiting) each(outcome);
      });
    },
  };
};

/** Connecting and registering go on by themselves: `ready` says when it holds its first credential. */
export async function joinBench(joinFile: string, name: string): Promise<BenchAgent> {
  const agent = await composeAgent({
    from: { joinFile },
    name,
    stateDir: undefined,
    timings: parseAgentConfig({ providers: [] }).timings,
    startTimeout: durationMs(60_000),
    specs: [],
    convention: [{ kind: IN_PROCESS, serves: ["*"] }],
    providers: [],
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    receivers: () => inProcessReceivers(systemClock, () => undefined),
    opener: benchOpener,
  });
  agent.start();
  return agent;
}
