/**
 * `evergrant demo`: shows on one machine, without AWS or Google, what evergrant does, and measures it.
 * Exit 0 only when every agent applied every generation and the client never stood without a credential.
 */
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { EvergrantError, EXIT } from "../protocol/errors.ts";
import { type DurationMs, seconds } from "../protocol/time.ts";
import { durationOption, parseCount } from "./arguments.ts";
import { deferred } from "./deferred.ts";
import type { DemoProvider } from "./demo/issuers.ts";
import { type CliIo, note, sayJson } from "./io.ts";
import type { Finish } from "./program.ts";
import { exitCodeOfSignal, onStop, type StopSignal } from "./signals.ts";

const DEMO_PROVIDERS: readonly DemoProvider[] = ["aws", "google", "both"];

interface DemoCommandOptions {
  readonly provider: DemoProvider;
  readonly agents: number;
  readonly lifetime: DurationMs;
  readonly duration: DurationMs;
  readonly report?: string;
  readonly runDir?: string;
  readonly json?: boolean;
}

/** Thrown to leave the demo; never shown as a failure. */
class Stopped extends Error {
  readonly signal: StopSignal;
  constructor(signal: StopSignal) {
    super("stopped");
    this.signal = signal;
  }
}

export function registerDemo(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("demo")
    .description("show rotations live on this machine, without AWS or Google, and report on them")
    .addOption(
      new Option("--provider <which>", "whose credentials: aws, google or both")
        .choices([...DEMO_PROVIDERS])
        .default("aws"),
    )
    .option("--agents <n>", "how many agents, 1 to 1000", parseCount(1, 1000), 3)
    .addOption(durationOption("--lifetime <duration>", "of each credential", 20))
    .addOption(durationOption("--duration <duration>", "from the first applied credential on", 60))
    .option("--report <file>", "write the report there, as JSON")
    .option("--run-dir <dir>", "keep everything in this folder (default: a temporary one)")
    .option("--json", "print the report as JSON, and progress on stderr")
    .action(async (options: DemoCommandOptions) => finish(await demo(options, io)));
  registerHelpers(program, io, finish);
}

async function demo(options: DemoCommandOptions, io: CliIo): Promise<number> {
  if (options.lifetime < seconds(3)) {
    throw new EvergrantError("CONFIG_INVALID", "--lifetime: expected 3s or more");
  }
  const interrupted = deferred<never>();
  interrupted.promise.catch(() => undefined);
  const release = onStop(
    io,
    (signal) => {
      note(io, `evergrant: ${signal}, ending every process`);
      interrupted.reject(new Stopped(signal));
    },
    () => note(io, "evergrant: still ending"),
  );
  const { runDemo } = await import("./demo/run-demo.ts");
  const { renderReport } = await import("./demo/report.ts");
  try {
    const shown = options.json === true ? { ...io, stdout: io.stderr } : io;
    const report = await runDemo(options, shown, interrupted.promise);
    if (options.report !== undefined) {
      await writeReport(resolve(io.workingDir, options.report), report);
    }
    if (options.json === true) sayJson(io, report);
    else io.stdout(`\n${renderReport(report)}`);
    return report.faults.length === 0 ? EXIT.done : EXIT.failed;
  } catch (thrown) {
    if (thrown instanceof Stopped) return exitCodeOfSignal(thrown.signal);
    throw thrown;
  } finally {
    release();
  }
}

async function writeReport(path: string, report: object): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(report, null, 2)}\n`);
  } catch (cause) {
    throw new EvergrantError("FILE_UNUSABLE", `the report ${path} can't be written`, { cause });
  }
}

/** The demo's own processes: not for people, so not in `--help`. */
function registerHelpers(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("demo-client", { hidden: true })
    .option("--endpoint <url>")
    .option("--google-endpoint <url>")
    .requiredOption("--region <region>")
    .action(async (given: { endpoint?: string; googleEndpoint?: string; region: string }) => {
      const { runDemoClient } = await import("./demo/client.ts");
      const tell = (totals: object): void =>
        io.stdout(`${JSON.stringify({ event: "client", totals })}\n`);
      const stopped = new Promise<void>(
        (stop) =>
          void onStop(
            io,
            () => stop(),
            () => stop(),
          ),
      );
      const every = seconds(0.075); // late timers and all, one call in every 100 ms
      tell(await runDemoClient({ ...given, every, clock: io.clock, tell }, stopped));
      finish(EXIT.done);
    });
  program
    .command("demo-agents", { hidden: true })
    .requiredOption("--join <file>")
    .requiredOption("--state-dir <dir>")
    .requiredOption("--first <n>", "", parseCount(1, 1000))
    .requiredOption("--count <n>", "", parseCount(1, 1000))
    .action(async (options: { join: string; stateDir: string; first: number; count: number }) => {
      const { runDemoAgents } = await import("./demo/agents.ts");
      await runDemoAgents(options, io);
      finish(EXIT.done);
    });
}
