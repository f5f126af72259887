/**
 * What a subcommand may touch of the process that it runs in, so that tests can bring their own.
 * Owns nothing but the words.
 */
import type { Clock, Random } from "../protocol/time.ts";

export interface CliIo {
  stdout(text: string): void;
  stderr(text: string): void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly workingDir: string;
  /** Whether stdout is a terminal whose lines can be redrawn. */
  readonly terminal: boolean;
  readonly clock: Clock;
  readonly random: Random;
  /** Where SIGINT and SIGTERM arrive. */
  readonly signals: Pick<NodeJS.Process, "on" | "removeListener">;
}

/** One line on stdout. */
export const say = (io: CliIo, line: string): void => io.stdout(`${line}\n`);

/** One line on stderr. */
export const note = (io: CliIo, line: string): void => io.stderr(`${line}\n`);

/** A value for other programs: one JSON document, two blanks deep. */
export const sayJson = (io: CliIo, value: unknown): void =>
  io.stdout(`${JSON.stringify(value, null, 2)}\n`);
