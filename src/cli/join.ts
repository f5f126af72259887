/**
 * `evergrant join`: makes a further join file, e.g. with a shorter life than the coordinator's own.
 * Needs the job key, so it is the driver's to run, not an executor's.
 */
import { resolve } from "node:path";
import type { Command } from "commander";
import { EvergrantError, EXIT } from "../protocol/errors.ts";
import type { BrokerAccess } from "../protocol/join.ts";
import { type DurationMs, seconds } from "../protocol/time.ts";
import { parseCount, parseDuration } from "./arguments.ts";
import { type CliIo, say, sayJson } from "./io.ts";
import type { Finish } from "./program.ts";

interface JoinOptions {
  readonly config: string;
  readonly jobKey?: string;
  readonly out: string;
  readonly ttl?: DurationMs;
  readonly maxAgents?: number;
  readonly json?: boolean;
}

export function registerJoin(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("join")
    .description("make a join file (0600) for executors")
    .requiredOption("--config <file>", "the job's configuration")
    .option("--job-key <file>", "the job key (default: job-key.json in the run folder)")
    .requiredOption("--out <file>", "where to write it; `-` is stdout")
    .option("--ttl <duration>", "how long it lets agents in (default: join.ttlSec)", parseDuration)
    .option(
      "--max-agents <n>",
      "how many agents it lets in (default: join.maxAgents)",
      parseCount(1, 1_000_000),
    )
    .option("--json", "print JSON for other programs")
    .action(async (options: JoinOptions) => {
      const { readJobConfig } = await import("../coordinator/config.ts");
      const { createJoinFile, readJobKeys, writePrivateFile } = await import(
        "../coordinator/job-files.ts"
      );
      const config = await readJobConfig(resolve(io.workingDir, options.config));
      const runDir = resolve(config.baseDir, config.runDir);
      const keyPath =
        options.jobKey === undefined
          ? resolve(runDir, "job-key.json")
          : resolve(io.workingDir, options.jobKey);
      const keys = await readJobKeys(keyPath, { tenant: config.tenant, job: config.job });
      const file = await createJoinFile(
        keys,
        {
          nats: await brokerOf(config, resolve(runDir, "join.json")),
          ttl: options.ttl ?? seconds(config.join.ttlSec),
          maxAgents: options.maxAgents ?? config.join.maxAgents,
        },
        io.clock.now().wall,
        io.random,
      );
      const content = `${JSON.stringify(file, null, 2)}\n`;
      if (options.out === "-") io.stdout(content);
      else {
        const path = resolve(io.workingDir, options.out);
        await writePrivateFile(path, content);
        if (options.json === true) sayJson(io, { file: path, expiresAt: file.expiresAt });
        else say(io, `${path} lets agents in until ${file.expiresAt}`);
      }
      finish(EXIT.done);
    });
}

/** The configured servers; where they are private ones, what the coordinator wrote about them. */
async function brokerOf(
  config: Awaited<ReturnType<typeof import("../coordinator/config.ts").readJobConfig>>,
  joinFile: string,
): Promise<BrokerAccess> {
  if (config.nats !== undefined) {
    const { brokerAccessFor } = await import("../nats/config.ts");
    return brokerAccessFor("agents", config.nats, config.baseDir);
  }
  const { readJsonFile } = await import("../coordinator/job-files.ts");
  const { joinFileSchema } = await import("../protocol/join.ts");
  try {
    return (await readJsonFile(joinFile, joinFileSchema, "join file")).nats;
  } catch (cause) {
    throw new EvergrantError(
      "NO_COORDINATOR",
      `the configuration names no NATS server, and no coordinator has left ${joinFile}, where its own would stand`,
      { cause },
    );
  }
}
