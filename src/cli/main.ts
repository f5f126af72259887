/** Runs the command line of this process. Everything else is in program.ts. */
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import type { CliIo } from "./io.ts";
import { runCli } from "./program.ts";

const io: CliIo = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  env: process.env,
  workingDir: process.cwd(),
  terminal: process.stdout.isTTY === true,
  clock: systemClock,
  random: systemRandom,
  signals: process,
};

// A reader that goes away (`evergrant watch | head -1`) is no failure of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
});

const code = await runCli(process.argv.slice(2), io);
// By hand, so that a handle left open somewhere can't keep a finished command alive.
process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
