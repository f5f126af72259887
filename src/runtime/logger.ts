/**
 * Structured logs: one JSON object a line, to standard error unless told otherwise, so that standard
 * output stays for what a command prints. Owns what must never be in them (I9): besides the boxes
 * that secrets travel in, fields with a secret's name are blanked and foreign errors lose their text.
 */
import type { Writable } from "node:stream";
import { destination, pino } from "pino";
import { EvergrantError } from "../protocol/errors.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Facts first, then the sentence. Errors go under `err`. Correlation: tenant, job, agent, provider, term, generation. */
export interface Logger {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
  /** A logger that adds these facts to every line. */
  child(facts: Record<string, unknown>): Logger;
}

export interface LoggerOptions {
  /** What runs: `coordinator`, `agent`. */
  readonly name: string;
  /** Default `info`. */
  readonly level?: LogLevel;
  /** A file to append to (made with mode 0600), or a stream. Default: standard error. */
  readonly destination?: string | Writable;
}

/** Names under which a secret might travel, at the top or one level down. */
const SECRET_FIELDS = [
  "password",
  "secret",
  "secretAccessKey",
  "sessionToken",
  "accessToken",
  "token",
  "ticket",
  "creds",
  "nkeySeed",
  "key",
  "macKey",
  "replyKey",
  "material",
  "authorization",
  "Authorization",
];

export function createLogger(options: LoggerOptions): Logger {
  const { destination: wanted } = options;
  const output =
    typeof wanted === "string"
      ? destination({ dest: wanted, sync: true, append: true, mode: 0o600 })
      : (wanted ?? destination({ dest: 2, sync: true }));
  return pino(
    {
      name: options.name,
      level: options.level ?? "info",
      base: { name: options.name, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]),
        censor: "[secret]",
      },
      serializers: { err: errorFacts },
      formatters: { level: (label) => ({ level: label }) },
    },
    output,
  );
}

/** Drops everything. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};

/** How deep chains of causes are followed. */
const DEEPEST_CAUSE = 5;

/** What may be known of a thrown value: our own errors' text, and of foreign ones only the type and the place. */
export function errorFacts(thrown: unknown, depth = 0): Readonly<Record<string, unknown>> {
  if (!(thrown instanceof Error)) return { type: typeof thrown };
  const cause =
    thrown.cause === undefined || depth >= DEEPEST_CAUSE
      ? {}
      : { cause: errorFacts(thrown.cause, depth + 1) };
  if (thrown instanceof EvergrantError) {
    const { code, message, details } = thrown;
    return { type: thrown.name, code, message, ...details, ...cause };
  }
  const code = "code" in thrown && typeof thrown.code === "string" ? { code: thrown.code } : {};
  const at = (thrown.stack ?? "")
    .split("\n")
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 8)
    .map((line) => line.trim());
  return { type: thrown.name, ...code, at, ...cause };
}
