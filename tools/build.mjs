/**
 * Makes dist/ anew, as it is published: `npm run build`, and before each `npm pack`. Nothing of an older
 * build stays, and nothing comes in but what the entries of the export map and the command need.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(root, "dist");

rmSync(dist, { recursive: true, force: true });
const { status } = spawnSync(
  process.execPath,
  [
    join(root, "node_modules", "typescript", "bin", "tsc"),
    ...["-b", "src/library", "src/cli", "--declarationMap", "false", "--sourceMap", "false"],
  ],
  { cwd: root, stdio: "inherit" },
);
if (status !== 0) process.exit(status ?? 1);

// The compiler leaves `.ts` in the specifiers of declarations; only `.js` is understood everywhere.
for (const name of readdirSync(dist, { recursive: true })) {
  if (!name.endsWith(".d.ts")) continue;
  const file = join(dist, name);
  const text = readFileSync(file, "utf8");
  const published = text.replace(/((?:from|import\() ?")(\.{1,2}\/[^"]+)\.ts(")/g, "$1$2.js$3");
  if (published !== text) writeFileSync(file, published);
}
