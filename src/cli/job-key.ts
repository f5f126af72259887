/** `evergrant job-key`: makes the file that every coordinator of a job must be given, and rotates the keys in it. */
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { EXIT } from "../protocol/errors.ts";
import { parseName } from "./arguments.ts";
import { type CliIo, say, sayJson } from "./io.ts";
import type { Finish } from "./program.ts";

interface JobKeyOptions {
  readonly job: string;
  readonly tenant: string;
  readonly out: string;
  readonly rotate?: boolean;
  readonly promote?: boolean;
  readonly json?: boolean;
}

const DONE = {
  made: "is the key of %; whoever has it is its coordinator",
  rotated: "has a new key set: restart all coordinators of %, then --promote it",
  promoted: "seals and signs with its newest key set: restart all coordinators of %",
} as const;

export function registerJobKey(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("job-key")
    .description("make a job key file (0600), never over another; or rotate the keys in one")
    .requiredOption("--job <name>", "the job's name", parseName)
    .option("--tenant <name>", "the tenant's name", parseName, "default")
    .option("--out <file>", "the file", "run/job-key.json")
    .addOption(
      new Option("--rotate", "add a new key set, which opens and verifies only").conflicts(
        "promote",
      ),
    )
    .option(
      "--promote",
      "let the newest key set seal and sign; all coordinators must know it by now",
    )
    .option("--json", "print JSON for other programs")
    .action(async ({ json, ...options }: JobKeyOptions) => {
      const path = resolve(io.workingDir, options.out);
      const did = await change(path, options, io);
      const { tenant, job } = options;
      if (json === true) sayJson(io, { tenant, job, file: path, did });
      else say(io, `${path} ${DONE[did].replace("%", `${tenant}/${job}`)}`);
      finish(EXIT.done);
    });
}

async function change(
  path: string,
  { tenant, job, rotate, promote }: JobKeyOptions,
  { clock, random }: CliIo,
): Promise<keyof typeof DONE> {
  const id = { tenant, job };
  if (rotate !== true && promote !== true) {
    const { createJobKeyFile } = await import("../coordinator/job-files.ts");
    await createJobKeyFile(path, id, clock.now().wall, random);
    return "made";
  }
  const rotation = await import("../coordinator/job-key-rotation.ts");
  if (promote === true) {
    await rotation.promoteJobKeyFile(path, id);
    return "promoted";
  }
  await rotation.rotateJobKeyFile(path, id, clock.now().wall, random);
  return "rotated";
}
