/**
 * `evergrant operator-key`: makes one more operator. The private key goes into a new operator's file;
 * what is printed is public, and belongs under `operators` in the job's configuration.
 */
import { resolve } from "node:path";
import type { Command } from "commander";
import { EXIT } from "../protocol/errors.ts";
import { parseName } from "./arguments.ts";
import { type CliIo, note, say, sayJson } from "./io.ts";
import type { Finish } from "./program.ts";

interface OperatorKeyOptions {
  readonly name: string;
  readonly from?: string;
  readonly out?: string;
  readonly json?: boolean;
}

export function registerOperatorKey(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("operator-key")
    .description("make an operator's file (0600) and print what job.yaml needs to know of it")
    .requiredOption("--name <name>", "the operator's name, as the audit shows it", parseName)
    .option("--from <file>", "an operator's file of the same job (default: as for status)")
    .option("--out <file>", "where to write it (default: NAME.operator.json)")
    .option("--json", "print JSON for other programs")
    .action(async ({ name, from, out, json }: OperatorKeyOptions) => {
      const { operatorFilePlace, readOperatorFile } = await import("../operator/operator-file.ts");
      const { writePrivateFile } = await import("../coordinator/job-files.ts");
      const { createSigningKey, publicPart } = await import("../protocol/keys.ts");
      const known = readOperatorFile(operatorFilePlace(from, io.env, io.workingDir));
      const key = await createSigningKey(io.random);
      const path = resolve(io.workingDir, out ?? `${name}.operator.json`);
      const content = { ...known, operator: name, key };
      await writePrivateFile(path, `${JSON.stringify(content, null, 2)}\n`, { exclusive: true });
      const entry = { name, key: publicPart(key) };
      if (json === true) sayJson(io, { file: path, operators: [entry] });
      else {
        note(io, `${path} is ${name}'s; this goes into job.yaml, then restart the coordinator:`);
        say(io, `operators:\n  - ${JSON.stringify(entry)}`);
      }
      finish(EXIT.done);
    });
}
