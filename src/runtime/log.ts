/** Logging as one function: what machines and adapters take, so that a test can count what was said. */
import type { Logger } from "./logger.ts";

export type Log = (
  level: "debug" | "info" | "warn" | "error",
  message: string,
  facts?: Readonly<Record<string, unknown>>,
) => void;

/** A logger as that function. */
export function logInto(logger: Logger): Log {
  return (level, message, facts = {}) => logger[level](facts, message);
}
