/**
 * `evergrant credential-process`: for `credential_process` in an AWS profile. The SDK starts it for
 * each use, so nothing is imported here that it does not need.
 */

import { resolve } from "node:path";
import type { Command } from "commander";
import type { CliIo } from "./io.ts";
import type { Finish } from "./program.ts";

export function registerCredentialProcess(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("credential-process")
    .description("print a local agent's AWS credential, as credential_process wants it")
    .requiredOption("--socket <path>", "the agent's socket")
    .action(async ({ socket }: { readonly socket: string }) => {
      const { credentialProcess } = await import(
        "../worker-agent/receivers/aws-process/credential-process-client.ts"
      );
      const { stdout, stderr, clock } = io;
      finish(
        await credentialProcess({ socket: resolve(io.workingDir, socket), clock, stdout, stderr }),
      );
    });
}
