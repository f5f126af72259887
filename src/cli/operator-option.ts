/** What all of the operator's subcommands share: which job, and a client that is closed afterwards. */
import { type Command, Option } from "commander";
import type { OperatorClient } from "../operator/operator-client.ts";
import type { CliIo } from "./io.ts";

export interface OperatorOptions {
  readonly operator?: string;
  readonly json?: boolean;
}

/** Adds `--operator FILE` and `--json`. */
export const withOperator = (command: Command): Command =>
  command
    .addOption(
      new Option(
        "--operator <file>",
        "the operator's file (default: $EVERGRANT_OPERATOR_FILE, else ./run/operator.json)",
      ),
    )
    .option("--json", "print JSON for other programs");

/** Runs `work` with a connected client. @throws EvergrantError as the client does */
export async function asOperator<T>(
  options: OperatorOptions,
  io: CliIo,
  work: (client: OperatorClient) => Promise<T>,
): Promise<T> {
  const { operatorFilePlace, readOperatorFile } = await import("../operator/operator-file.ts");
  const file = readOperatorFile(operatorFilePlace(options.operator, io.env, io.workingDir));
  const { connectOperator } = await import("../operator/operator-client.ts");
  const client = await connectOperator(file, { clock: io.clock, random: io.random });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
