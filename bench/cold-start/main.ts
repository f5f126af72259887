/**
 * From the start of `evergrant agent` to the start of its consumer with the first credential, beside the start of
 * a Node.js that does nothing and the start of one that only loads the agent's modules.
 *
 *     npm run bench -- cold-start --rounds 20
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/runtime/system-clock.ts";
import type { CoordinatorQuestion } from "../scale/coordinator.ts";
import { startChild } from "../support/child.ts";
import { median, percentile, report, row } from "../support/figures.ts";
import { startStand } from "../support/stand.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, report: { type: "string" } },
});
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const built = path("../../dist/cli/main.js");
/** As published: JavaScript. Without a build, the sources, whose types Node.js strips at each start. */
const main = existsSync(built) ? built : path("../../src/cli/main.ts");
const agentModule = existsSync(built)
  ? path("../../dist/worker-agent/agent.js")
  : path("../../src/worker-agent/agent.ts");
const now = (): number => systemClock.now().mono;

async function timed(args: readonly string[]): Promise<number> {
  const began = now();
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}`);
  return now() - began;
}

const stand = await startStand();
const coordinator = startChild(new URL("../scale/coordinator.ts", import.meta.url));
try {
  const file = await stand.job("cold-start");
  const question = { kind: "start", file } satisfies CoordinatorQuestion;
  const { joinFile } = await coordinator.ask<{ joinFile: string }>(question);
  const all = { empty: [] as number[], modules: [] as number[], agent: [] as number[] };
  for (let round = 0; round <= Number(values.rounds); round += 1) {
    const empty = await timed(["-e", "0"]);
    const modules = await timed([
      "--input-type=module",
      "-e",
      `import ${JSON.stringify(agentModule)}`,
    ]);
    const agent = await timed([
      ...[
        "--",
        main,
        "agent",
        "--join",
        joinFile,
        "--name",
        `cold-${round}`,
        "--log-level",
        "error",
      ],
      ...["--exec", "--", "true"],
    ]);
    if (round === 0) continue; // The first finds cold files.
    all.empty.push(empty);
    all.modules.push(modules);
    all.agent.push(agent);
  }
  const which = existsSync(built) ? "built" : "sources";
  report(
    "cold-start",
    [
      row(
        `agent (${which}) from its start to its consumer's end, median`,
        median(all.agent),
        "ms",
        median(all.empty),
      ),
      row(`agent (${which}), p90`, percentile(all.agent, 0.9), "ms", percentile(all.empty, 0.9)),
      row("of which: loading its modules, median", median(all.modules), "ms", median(all.empty)),
      row(
        "of which: joining, applying, proving, ending, median",
        median(all.agent) - median(all.modules),
        "ms",
      ),
    ],
    values.report,
  );
} finally {
  await coordinator.stop();
  await stand.stop();
}
