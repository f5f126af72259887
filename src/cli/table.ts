/** Plain text for people: columns, and lengths of time. */
import type { DurationMs } from "../protocol/time.ts";

/** Left-aligned columns, two blanks apart, no blanks at line ends. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  return all
    .map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

/** `850 ms`, `9.5 s`, `12 min`, `3.4 h`: two figures that matter, never more. */
export function howLong(length: DurationMs | number | undefined): string {
  if (length === undefined) return "-";
  if (length < 1000) return `${Math.round(length)} ms`;
  if (length < 100_000) return `${(length / 1000).toFixed(1)} s`;
  if (length < 6_000_000) return `${Math.round(length / 60_000)} min`;
  return `${(length / 3_600_000).toFixed(1)} h`;
}
