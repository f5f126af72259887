/**
 * `evergrant coordinator`: runs one beside the job. SIGTERM and Ctrl-C hand over; the job is ended by
 * `evergrant end`, or under `--with-parent` by the end of the process that started this one.
 */
import { resolve } from "node:path";
import type { Command } from "commander";
import type { CoordinatorHandle } from "../coordinator/coordinator.ts";
import { EvergrantError, EXIT } from "../protocol/errors.ts";
import { type DurationMs, seconds } from "../protocol/time.ts";
import { durationOption } from "./arguments.ts";
import { type CliIo, note, say } from "./io.ts";
import { onParentGone } from "./parent.ts";
import type { Finish } from "./program.ts";
import { exitCodeOfSignal, onStop } from "./signals.ts";

interface CoordinatorOptions {
  readonly config: string;
  readonly jobKey?: string;
  readonly joinFile?: string;
  readonly operatorFile?: string;
  readonly standby?: boolean;
  readonly withParent?: boolean;
  readonly startTimeout: DurationMs;
  readonly json?: boolean;
}

export function registerCoordinator(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("coordinator")
    .description("run a coordinator beside a job")
    .requiredOption("--config <file>", "the job's configuration (job.yaml)")
    .option("--job-key <file>", "the job key (default: job-key.json in the run folder)")
    .option("--join-file <file>", "what executors are handed (default: join.json there)")
    .option("--operator-file <file>", "what operators are handed (default: operator.json there)")
    .option("--standby", "end when the job is found ended, instead of beginning it anew")
    .option("--with-parent", "end the job when the process that started this one ends")
    .addOption(
      durationOption(
        "--start-timeout <duration>",
        "how long NATS and Redis may take to be there",
        30,
      ),
    )
    .option("--json", "print JSON for other programs, one document a line")
    .action(async (options: CoordinatorOptions) => finish(await run(options, io)));
}

async function run(options: CoordinatorOptions, io: CliIo): Promise<number> {
  const { launchCoordinator } = await import("../coordinator/coordinator.ts");
  const at = (path: string): string => resolve(io.workingDir, path);
  let handle: CoordinatorHandle | undefined;
  // What is asked for while it still starts is done as soon as it has.
  let asked: "hand-over" | "end" | undefined;
  const act = (): void => {
    if (handle === undefined || asked === undefined) return;
    const done = asked === "end" ? handle.end() : handle.handOver();
    done.catch(() => undefined); // `finished` says it
  };
  const ask = (what: "hand-over" | "end"): void => {
    if (asked === "end") return;
    asked = what;
    act();
  };
  const releaseSignals = onStop(
    io,
    (signal) => {
      note(io, `evergrant: handing over (${signal}); once more ends this process at once`);
      ask("hand-over");
    },
    (signal) => process.exit(exitCodeOfSignal(signal)),
  );
  const releaseParent =
    options.withParent === true
      ? onParentGone(io.clock, () => {
          note(io, "evergrant: the parent process is gone, ending the job");
          ask("end");
        })
      : () => undefined;
  try {
    handle = await launchCoordinator(
      { file: at(options.config) },
      {
        standby: options.standby ?? false,
        startTimeout: options.startTimeout,
        ...(options.jobKey === undefined ? {} : { jobKeyPath: at(options.jobKey) }),
        ...(options.joinFile === undefined ? {} : { joinFilePath: at(options.joinFile) }),
        ...(options.operatorFile === undefined
          ? {}
          : { operatorFilePath: at(options.operatorFile) }),
      },
    );
    report(handle, options, io);
    act();
    const how = await handle.finished;
    tell(io, options, { event: how }, `the job is ${how}`);
    return EXIT.done;
  } finally {
    releaseSignals();
    releaseParent();
  }
}

/** Says where everything is, and then once when the first credentials are out. */
function report(handle: CoordinatorHandle, options: CoordinatorOptions, io: CliIo): void {
  const { id, joinFile, operatorFile, statusUrl } = handle;
  tell(
    io,
    options,
    { event: "started", ...id, joinFile, operatorFile, statusUrl },
    `coordinator of ${id.tenant}/${id.job} started\n  join file      ${joinFile}\n  operator file  ${operatorFile}\n  status         ${statusUrl}`,
  );
  const wait = seconds(60);
  handle.ready(wait).then(
    () => tell(io, options, { event: "ready" }, "ready: every credential is obtained"),
    (thrown: unknown) => {
      // It goes on trying: this only says why nothing is there yet.
      const error = EvergrantError.from(thrown, "INTERNAL", "getting ready");
      if (error.code === "START_TIMEOUT") note(io, `evergrant: ${error.message}`);
    },
  );
}

function tell(io: CliIo, { json }: CoordinatorOptions, event: object, words: string): void {
  say(io, json === true ? JSON.stringify(event) : words);
}
