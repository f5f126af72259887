/** `evergrant nats-permissions`: the users of a job as configuration for a nats-server of one's own. */
import type { Command } from "commander";
import { EXIT } from "../protocol/errors.ts";
import { collectNames, parseName } from "./arguments.ts";
import { type CliIo, sayJson } from "./io.ts";
import type { Finish } from "./program.ts";

interface NatsPermissionsOptions {
  readonly tenant: string;
  readonly job: string;
  readonly agent?: string[];
  readonly json?: boolean;
}

export function registerNatsPermissions(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("nats-permissions")
    .description("print a job's users and permissions for a nats-server's configuration")
    .option("--tenant <name>", "the tenant's name", parseName, "default")
    .requiredOption("--job <name>", "the job's name", parseName)
    .option(
      "--agent <names>",
      "agents with a user of their own each (default: one user for all)",
      collectNames,
    )
    .option("--json", "print JSON for other programs")
    .action(async ({ tenant, job, agent = [], json }: NatsPermissionsOptions) => {
      const { usersConfig, usersOf } = await import("../nats/users-config.ts");
      const { permissionsOf } = await import("../protocol/permissions.ts");
      const id = { tenant, job };
      if (json === true) {
        sayJson(
          io,
          usersOf({ id, agents: agent }).map(({ name, ...user }) => ({
            ...user,
            permissions: permissionsOf(user.role, id, name),
          })),
        );
      } else io.stdout(usersConfig({ id, agents: agent }));
      finish(EXIT.done);
    });
}
