/** The one gate: every step is a claim about the tree, and the first false one ends the run. */
import { spawnSync } from "node:child_process";

const STEPS = [
  ["The tree is formatted and linted", "biome", "ci", ".", "--error-on-warnings"],
  ["The tree compiles, and every folder imports only what it may", "tsc", "-b"],
  ["The documents are in step with the sources", "node", "tools/docs-sync.mjs"],
  ["Units and contracts hold", "vitest", "run", "--project", "unit", "--project", "contract"],
];

for (const [claim, command, ...args] of STEPS) {
  console.log(`\n== ${claim}`);
  const { status } = spawnSync(command, args, { stdio: "inherit" });
  if (status !== 0) {
    console.error(`\nNot so: ${claim} (${[command, ...args].join(" ")})`);
    process.exit(1);
  }
}
console.log("\nAll claims hold.");
