/** `evergrant end`: ends the job for good. A handover is what SIGTERM to the coordinator does. */
import type { Command } from "commander";
import { EXIT } from "../protocol/errors.ts";
import { type CliIo, say, sayJson } from "./io.ts";
import { asOperator, type OperatorOptions, withOperator } from "./operator-option.ts";
import type { Finish } from "./program.ts";

export function registerEnd(program: Command, io: CliIo, finish: Finish): void {
  withOperator(program.command("end"))
    .description("end the job: cancel what can be cancelled, stop its coordinators")
    .action(async (options: OperatorOptions) => {
      const { tenant, job } = await asOperator(options, io, async (client) => {
        await client.end();
        return client.id;
      });
      if (options.json === true) sayJson(io, { tenant, job, ending: true });
      else say(io, `${tenant}/${job} is ending`);
      finish(EXIT.done);
    });
}
