/**
 * The `evergrant` command: its subcommands, its exit codes, and how a failure is said. Each
 * subcommand is a file of its own, which imports what it runs only when it runs.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { EvergrantError, EXIT, exitCodeOf } from "../protocol/errors.ts";
import { registerAgent } from "./agent.ts";
import { registerAgents } from "./agents.ts";
import { registerCheck } from "./check.ts";
import { registerCoordinator } from "./coordinator.ts";
import { registerCredentialProcess } from "./credential-process.ts";
import { registerDemo } from "./demo.ts";
import { registerEnd } from "./end.ts";
import { registerGoogle } from "./google.ts";
import { registerHadoopTokens } from "./hadoop-tokens.ts";
import { type CliIo, note } from "./io.ts";
import { registerJobKey } from "./job-key.ts";
import { registerJoin } from "./join.ts";
import { registerNatsPermissions } from "./nats-permissions.ts";
import { registerOperatorKey } from "./operator-key.ts";
import { registerRotate } from "./rotate.ts";
import { registerStatus } from "./status.ts";
import { registerStsEmulator } from "./sts-emulator.ts";
import { registerWatch } from "./watch.ts";

/** Called once by a subcommand that has come to its end, with its exit code. */
export type Finish = (code: number) => void;

const EXIT_HELP = `
Exit codes: ${EXIT.done} done, ${EXIT.failed} failed, ${EXIT.usage} usage or configuration, ${EXIT.agentsMissing} agents missing, ${EXIT.noCoordinator} no coordinator.`;

/** The subcommands in the order of `--help`. */
const SUBCOMMANDS = [
  registerCoordinator,
  registerAgent,
  registerStatus,
  registerAgents,
  registerRotate,
  registerWatch,
  registerEnd,
  registerCheck,
  registerJoin,
  registerJobKey,
  registerOperatorKey,
  registerNatsPermissions,
  registerCredentialProcess,
  registerHadoopTokens,
  registerGoogle,
  registerDemo,
  registerStsEmulator,
] as const;

export function buildProgram(io: CliIo, finish: Finish): Command {
  const program = new Command("evergrant")
    .description("keeps the short-lived credentials of a distributed job fresh")
    .version(version())
    .exitOverride()
    .configureOutput({ writeOut: io.stdout, writeErr: io.stderr })
    .showHelpAfterError("(--help says what is expected)")
    .addHelpText("after", EXIT_HELP);
  for (const register of SUBCOMMANDS) register(program, io, finish);
  for (const command of program.commands) command.addHelpText("after", EXIT_HELP);
  return program;
}

/** Runs one command line, without the program's own name. Never throws; resolves to the exit code. */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  let code: number = EXIT.done;
  const program = buildProgram(io, (given) => {
    code = given;
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return code;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.done : EXIT.usage;
    const error = EvergrantError.from(thrown, "INTERNAL", `evergrant ${argv[0] ?? ""}`);
    note(io, `evergrant: ${error.message}`);
    return exitCodeOf(error.code);
  }
}

/** The package's, which lies two folders up from the sources and from what is built of them. */
function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}
