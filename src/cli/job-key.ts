/** `evergrant job-key`: makes the file that every coordinator of a job must be given. */
import { resolve } from "node:path";
import type { Command } from "commander";
import { EXIT } from "../protocol/errors.ts";
import { parseName } from "./arguments.ts";
import { type CliIo, say, sayJson } from "./io.ts";
import type { Finish } from "./program.ts";

interface JobKeyOptions {
  readonly job: string;
  readonly tenant: string;
  readonly out: string;
  readonly json?: boolean;
}

export function registerJobKey(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("job-key")
    .description("make a job key file (0600); never overwrites one")
    .requiredOption("--job <name>", "the job's name", parseName)
    .option("--tenant <name>", "the tenant's name", parseName, "default")
    .option("--out <file>", "where to write it", "run/job-key.json")
    .option("--json", "print JSON for other programs")
    .action(async ({ tenant, job, out, json }: JobKeyOptions) => {
      const { createJobKeyFile } = await import("../coordinator/job-files.ts");
      const path = resolve(io.workingDir, out);
      await createJobKeyFile(path, { tenant, job }, io.clock.now().wall, io.random);
      if (json === true) sayJson(io, { tenant, job, file: path });
      else say(io, `${path} is the key of ${tenant}/${job}; whoever has it is its coordinator`);
      finish(EXIT.done);
    });
}
