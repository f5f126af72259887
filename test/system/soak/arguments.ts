/** What `npm run soak` is asked for. */
import { parseArgs } from "node:util";

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly agents: number;
}

export function soakOptions(args: readonly string[]): SoakOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: "string", default: "2" },
      seed: { type: "string", default: "1" },
      agents: { type: "string", default: "50" },
    },
  });
  const number = (name: "minutes" | "seed" | "agents"): number => {
    const given = Number(values[name]);
    if (!Number.isFinite(given) || given <= 0)
      throw new Error(`--${name}: expected a number above 0`);
    return given;
  };
  return { minutes: number("minutes"), seed: number("seed"), agents: number("agents") };
}
