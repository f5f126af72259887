/** Waiting for what has no event of its own. */
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";

/** Resolves once the condition holds, looked at every 10 ms; the test's own timeout ends it. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    await new Promise<void>((resolve) => void systemClock.timer(durationMs(10), resolve));
  }
}
