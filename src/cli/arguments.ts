/** Words of the command line as values. Owns their forms; every fault is a usage error (exit 2). */
import { InvalidArgumentError, Option } from "commander";
import { NAME_PATTERN } from "../protocol/names.ts";
import { type DurationMs, durationMs, seconds } from "../protocol/time.ts";

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `500ms`, `20s`, `1.5m`, `2h`, `7d`; a bare number is in seconds. More than 0. */
export function parseDuration(text: string): DurationMs {
  const [, amount, unit = "s"] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text.trim()) ?? [];
  const value = Number(amount) * (UNIT_MS[unit] ?? Number.NaN);
  if (Number.isFinite(value) && value > 0) return durationMs(value);
  throw new InvalidArgumentError("expected a duration such as 500ms, 20s, 5m or 2h");
}

/** A whole number from `min` to `max`. */
export const parseCount =
  (min: number, max: number) =>
  (text: string): number => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}`);
  };

/** The name of a tenant, job, agent, operator or provider. */
export function parseName(text: string): string {
  if (NAME_PATTERN.test(text)) return text;
  throw new InvalidArgumentError("expected 1 to 64 of A-Z a-z 0-9 _ -");
}

/** Values of an option that may be given several times, or separated by commas. */
export function collectNames(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), ...text.split(",").map((name) => parseName(name.trim()))];
}

/** An option that takes a duration, with its default in seconds as `--help` shows it. */
export const durationOption = (flags: string, text: string, sec: number): Option =>
  new Option(flags, text).argParser(parseDuration).default(seconds(sec), `${sec}s`);
