/** A process for command lines under test: what was printed, and signals on demand. */
import { EventEmitter } from "node:events";
import type { CliIo } from "../../../src/cli/io.ts";
import { runCli } from "../../../src/cli/program.ts";
import { systemClock, systemRandom } from "../../../src/runtime/system-clock.ts";

export interface CliRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function fakeIo(over: Partial<CliIo> = {}) {
  const printed = { stdout: "", stderr: "" };
  const signals = new EventEmitter();
  const io: CliIo = {
    stdout: (text) => {
      printed.stdout += text;
    },
    stderr: (text) => {
      printed.stderr += text;
    },
    env: {},
    workingDir: "/nonexistent",
    terminal: false,
    clock: systemClock,
    random: systemRandom,
    signals: signals as unknown as CliIo["signals"],
    ...over,
  };
  return { io, printed, signals };
}

/** Runs a command line to its end. */
export async function cli(argv: readonly string[], over: Partial<CliIo> = {}): Promise<CliRun> {
  const { io, printed } = fakeIo(over);
  const code = await runCli(argv, io);
  return { code, ...printed };
}
