/**
 * All benchmarks, or one, each in a process of its own with its baselines in the same run; docs/performance.md explains
 * the figures.
 *
 *     npm run bench                         small numbers: some minutes
 *     npm run bench -- --full               full size: 10,000 agents; half an hour, and 20,000 open files
 *     npm run bench -- scale --agents 100   one of them, with options of its own
 *
 * JSON goes to `bench-report/`, or to the folder that `--reports DIR` names.
 */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const FULL: Readonly<Record<string, readonly string[]>> = {
  scale: ["--agents", "1,10,100,1000,10000"],
  "fan-out": ["--agents", "1000"],
  lateness: ["--queues", "1000", "--plans", "10", "--spread-sec", "30"],
  endpoint: ["--seconds", "10", "--rounds", "5"],
  "cold-start": ["--rounds", "20"],
};

const args = process.argv.slice(2);
const take = (flag: string, length: number): string | undefined => {
  const at = args.indexOf(flag);
  return at < 0 ? undefined : (args.splice(at, length).at(-1) ?? "");
};
const full = take("--full", 1) !== undefined;
const reports = resolve(take("--reports", 2) ?? "bench-report");
const [only, ...own] = args;
if (only !== undefined && FULL[only] === undefined) {
  console.error(`expected one of ${Object.keys(FULL).join(", ")}`);
  process.exit(2);
}
let failed = 0;
for (const [name, sized] of Object.entries(FULL)) {
  if (only !== undefined && only !== name) continue;
  const program = fileURLToPath(new URL(`./${name}/main.ts`, import.meta.url));
  const report = ["--report", join(reports, `${name}.json`)];
  const options = [...(full ? sized : []), ...own, ...report];
  const { status } = spawnSync(process.execPath, [program, ...options], { stdio: "inherit" });
  if (status !== 0) failed += 1;
}
process.exit(failed === 0 ? 0 : 1);
