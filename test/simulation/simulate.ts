/** One seed, from beginning to end. */
import type { Violation } from "./oracle.ts";
import { World } from "./world.ts";

export interface Report {
  readonly seed: number;
  readonly violation: Violation | undefined;
  /** Events of the world, and calls to its issuers: that it did not stand still. */
  readonly events: number;
  readonly calls: number;
  readonly faults: ReadonlyMap<string, number>;
  /** Empty unless it was asked for. */
  readonly trace: readonly string[];
}

/** The same seed always gives the same report. */
export async function simulate(seed: number, tracing = false): Promise<Report> {
  const world = new World(seed, tracing);
  try {
    // Only worlds with real ciphers ever stand still; all others run through in one go.
    for (const underWay of world.run()) await underWay;
  } catch (thrown) {
    world.oracle.violated(
      "SIMULATION",
      thrown instanceof Error ? `${thrown.stack}` : String(thrown),
    );
  }
  return {
    seed,
    violation: world.oracle.violation,
    events: world.timeline.count,
    calls: [...world.issuers.values()].reduce((sum, issuer) => sum + issuer.calls.length, 0),
    faults: world.faults.met,
    trace: world.lines,
  };
}
