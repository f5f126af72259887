/** `evergrant check`: judges a configuration, of a coordinator or of an agent, without starting anything. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { EvergrantError, EXIT } from "../protocol/errors.ts";
import { type CliIo, say, sayJson } from "./io.ts";
import type { Finish } from "./program.ts";

interface CheckOptions {
  readonly config: string;
  readonly json?: boolean;
}

export function registerCheck(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("check")
    .description("judge a job.yaml or an agent.yaml; starts nothing")
    .requiredOption("--config <file>", "the configuration")
    .option("--json", "print JSON for other programs")
    .action(async (options: CheckOptions) => {
      const file = resolve(io.workingDir, options.config);
      try {
        const found = await judge(file);
        if (options.json === true) sayJson(io, { ok: true, ...found });
        else say(io, `${options.config} is good: ${found.what}`);
        finish(EXIT.done);
      } catch (thrown) {
        const error = EvergrantError.from(thrown, "INTERNAL", "checking");
        if (options.json !== true || error.code !== "CONFIG_INVALID") throw error;
        sayJson(io, { ok: false, code: error.code, message: error.message });
        finish(EXIT.usage);
      }
    });
}

async function judge(file: string): Promise<{ readonly what: string }> {
  if (await isAgentConfig(file)) {
    const { readAgentConfig } = await import("./agent-config.ts");
    const { config } = await readAgentConfig(file);
    return { what: `an agent with ${config.receivers?.length ?? 0} receiver(s)` };
  }
  const { readJobConfig, resolveProviders } = await import("../coordinator/config.ts");
  const config = await readJobConfig(file);
  await resolveProviders(config);
  return {
    what: `job ${config.tenant}/${config.job} with ${config.providers.length} provider(s)`,
  };
}

/** An agent's names receivers, a job's never does. What can't be read or parsed is the job parser's to judge. */
async function isAgentConfig(file: string): Promise<boolean> {
  const { parse } = await import("yaml");
  try {
    const value: unknown = parse(await readFile(file, "utf8"));
    return (
      typeof value === "object" && value !== null && "receivers" in value && !("providers" in value)
    );
  } catch {
    return false;
  }
}
