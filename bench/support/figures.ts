/** What every benchmark does with its numbers: percentiles, a table, a JSON file. */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { dirname } from "node:path";

/** The value below which `share` (0 to 1) of the numbers lie. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
export const median = (numbers: readonly number[]): number => percentile(numbers, 0.5);

/** To three significant digits: more would pretend. */
export const rounded = (value: number): number => Number(value.toPrecision(3));

export interface Row {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** The same work without evergrant, measured in the same run. */
  readonly baseline?: number;
  readonly ratio?: number;
}

export const row = (what: string, value: number, unit: string, baseline?: number): Row => ({
  what,
  value: rounded(value),
  unit,
  ...(baseline === undefined
    ? {}
    : { baseline: rounded(baseline), ratio: rounded(value / baseline) }),
});

/** Prints the rows; with a path, writes them there as JSON, with the conditions they hold under. */
export function report(name: string, rows: readonly Row[], path: string | undefined): void {
  console.log(`\n${name}`);
  console.table(rows);
  if (path === undefined) return;
  const [cpu] = cpus();
  const conditions = {
    node: process.version,
    cores: cpus().length,
    cpu: cpu?.model,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    loadAverageAtEnd: loadavg().map(rounded),
    at: new Date().toISOString(),
  };
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify({ name, conditions, rows }, null, 2)}\n`);
}
