/**
 * `npm run mutate [-- --seeds N] [--only WORDS] [--from S] [--quick]`: switches each protection off in a copy of the
 * tree and proves that the simulation notices. Exit code 1 if one was not missed within the seeds: 10,000, or
 * 300 with `--quick`, which leaves out those that are known to need more.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stdout } from "node:process";
import { parseArgs } from "node:util";
import { MUTATIONS, type Mutation } from "./mutations.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const COPIED = [
  "package.json",
  "src/protocol",
  "src/runtime",
  "src/coordinator",
  "src/worker-agent",
  "test/simulation",
  "test/support",
];

/** @throws RangeError when the text that is to be changed is not there exactly once. */
function apply(tree: string, { name, edits }: Mutation): void {
  for (const { file, find, replace } of edits) {
    const path = join(tree, file);
    const source = readFileSync(path, "utf8");
    const places = source.split(find).length - 1;
    if (places !== 1) {
      throw new RangeError(`${name}: "${find}" stands ${places} times in ${file}, not once`);
    }
    writeFileSync(
      path,
      source.replace(find, () => replace),
    );
  }
}

function missed(mutation: Mutation, from: string, seeds: string): string | undefined {
  const tree = mkdtempSync(join(tmpdir(), "evergrant-mutant-"));
  try {
    for (const part of COPIED) cpSync(join(ROOT, part), join(tree, part), { recursive: true });
    symlinkSync(join(ROOT, "node_modules"), join(tree, "node_modules"));
    apply(tree, mutation);
    const main = join(tree, "test/simulation/main.ts");
    const { stdout: out, stderr } = spawnSync(
      process.execPath,
      [main, "--stop", "--from", from, "--seeds", seeds],
      { encoding: "utf8" },
    );
    const found = out.split("\n").find((line) => /^seed \d+: /.test(line));
    if (found === undefined && !/ 0 failed\s*$/.test(out)) throw new Error(`${out}${stderr}`);
    return found;
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    quick: { type: "boolean", default: false },
    from: { type: "string", default: "1" },
    only: { type: "string", default: "" },
  },
});

let survivors = 0;
const seeds = values.seeds ?? (values.quick ? "300" : "10000");
const chosen = MUTATIONS.filter(
  ({ name, rare }) => name.includes(values.only) && !(values.quick && rare === true),
);
for (const mutation of chosen) {
  const found = missed(mutation, values.from, seeds);
  if (found === undefined) survivors += 1;
  stdout.write(`${found === undefined ? "NOT NOTICED" : "noticed"}  ${mutation.name}\n`);
  if (found !== undefined) stdout.write(`    ${found.slice(0, 200)}\n`);
}
stdout.write(`${chosen.length} mutations, ${survivors} not noticed\n`);
process.exitCode = survivors === 0 ? 0 : 1;
