/** `evergrant agents`: who has registered, and what each holds. */
import type { Command } from "commander";
import { EXIT } from "../protocol/errors.ts";
import { type CliIo, sayJson } from "./io.ts";
import { asOperator, type OperatorOptions, withOperator } from "./operator-option.ts";
import type { Finish } from "./program.ts";
import { renderAgents } from "./render-status.ts";

export function registerAgents(program: Command, io: CliIo, finish: Finish): void {
  withOperator(program.command("agents"))
    .description("list the agents: generation, runway, receivers, what fails")
    .action(async (options: OperatorOptions) => {
      const agents = await asOperator(options, io, (client) => client.agents());
      if (options.json === true) sayJson(io, { agents });
      else io.stdout(renderAgents(agents));
      finish(EXIT.done);
    });
}
