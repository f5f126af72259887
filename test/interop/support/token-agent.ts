/** An agent that keeps a token file, as beside an executor, and what is in that file. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { readTokenStorage } from "../../../src/protocol/hadoop/token-storage.ts";
import { type DurationMs, durationMs } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { startAgent } from "../../../src/worker-agent/agent.ts";
import { eventually } from "../../support/eventually.ts";

/** Calls to a NameNode may take longer than the short leases of other tests allow. */
export const HADOOP_TIMING = "timing: {beatSec: 1, lostSec: 4, reconcileSec: 2, retryFirstSec: 1}";

export interface TokenAgent {
  readonly tokenFile: string;
  /** The identifiers in the file, in hex, sorted. */
  identifiers(): readonly string[];
  aliases(): readonly string[];
  /** Resolves once the file has been replaced `times` times from now on. */
  rewritten(times: number): Promise<void>;
}

/** Ends with the test. */
export async function tokenAgent(joinFile: string, provider = "lake"): Promise<TokenAgent> {
  const dir = mkdtempSync(join(tmpdir(), "evergrant-agent-"));
  const tokenFile = join(dir, "tokens");
  const agent = await startAgent({
    joinFile,
    config: {
      stateDir: join(dir, "state"),
      receivers: [{ kind: "hadoop-token-file", provider, path: tokenFile }],
    },
  });
  onTestFinished(async () => {
    await agent.close();
    rmSync(dir, { recursive: true, force: true });
  });
  await agent.ready(30_000);
  const tokens = () => readTokenStorage(readFileSync(tokenFile)).tokens;
  return {
    tokenFile,
    identifiers: () =>
      [...tokens().values()]
        .map(({ identifier }) => Buffer.from(identifier).toString("hex"))
        .sort(),
    aliases: () => [...tokens().keys()].sort(),
    async rewritten(times) {
      for (let left = times; left > 0; left -= 1) {
        const { ino, mtimeMs } = statSync(tokenFile);
        await eventually(() => {
          const now = statSync(tokenFile);
          return now.ino !== ino || now.mtimeMs !== mtimeMs;
        });
      }
    },
  };
}

/** Looks at the file every 20 ms. `stop` tells the longest time without a token, in milliseconds. */
export function watchForEmptiness(agent: TokenAgent): { stop(): number } {
  const every: DurationMs = durationMs(20);
  let longest = 0;
  let since: number | undefined;
  let cancel = (): void => undefined;
  const look = (): void => {
    const now = systemClock.now().mono;
    if (agent.aliases().length > 0) since = undefined;
    else {
      since ??= now;
      longest = Math.max(longest, now - since);
    }
    cancel = systemClock.timer(every, look);
  };
  look();
  onTestFinished(() => cancel());
  return {
    stop() {
      cancel();
      return longest;
    },
  };
}
