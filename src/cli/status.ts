/** `evergrant status`: what the coordinator says about the job. */
import type { Command } from "commander";
import { EXIT } from "../protocol/errors.ts";
import { type CliIo, sayJson } from "./io.ts";
import { asOperator, type OperatorOptions, withOperator } from "./operator-option.ts";
import type { Finish } from "./program.ts";
import { renderStatus } from "./render-status.ts";

export function registerStatus(program: Command, io: CliIo, finish: Finish): void {
  withOperator(program.command("status"))
    .description("show the job: readiness, providers, runway, rotations")
    .action(async (options: OperatorOptions) => {
      const status = await asOperator(options, io, (client) => client.status());
      if (options.json === true) sayJson(io, status);
      else io.stdout(renderStatus(status));
      finish(EXIT.done);
    });
}
