/** `evergrant google`: what has to be told to Google once, from the configuration of the job. */
import { dirname, resolve } from "node:path";
import type { Command } from "commander";
import type { GoogleWifOptions } from "../coordinator/providers/google-wif/options.ts";
import { EvergrantError, EXIT } from "../protocol/errors.ts";
import { parseName } from "./arguments.ts";
import { type CliIo, note, say, sayJson } from "./io.ts";
import type { Finish } from "./program.ts";

const KIND = "google-wif";

interface GoogleCommandOptions {
  readonly config: string;
  readonly provider?: string;
  readonly json?: boolean;
  readonly jwksFile?: string;
}

export function registerGoogle(program: Command, io: CliIo, finish: Finish): void {
  const google = program
    .command("google")
    .description("what has to be set up at Google for a google-wif provider; calls nobody");
  google
    .command("jwks")
    .description("print the public key set of the signing key, to upload to the pool")
    .requiredOption("--config <file>", "the job.yaml")
    .option("--provider <name>", "which provider, where several are google-wif", parseName)
    .action(async (options: GoogleCommandOptions) => {
      const { readSigningKey } = await import("../coordinator/providers/google-wif/signing-key.ts");
      const { name, wif, baseDir } = await chosen(io, options);
      if (!("jwt" in wif.subjectToken)) {
        const message = `${name} is given its assertions: whoever signs them has the key set`;
        throw new EvergrantError("CONFIG_INVALID", message);
      }
      const { jwt } = wif.subjectToken;
      const { publicJwk, algorithm } = await readSigningKey({
        ...jwt,
        keyFile: resolve(baseDir, jwt.keyFile),
      });
      if (algorithm === "EdDSA") {
        note(io, "evergrant: Google's pools accept RS256 and ES256; this key is of Ed25519");
      }
      sayJson(io, { keys: [publicJwk] });
      finish(EXIT.done);
    });
  google
    .command("setup")
    .description("print the gcloud commands that the configuration needs once; runs none")
    .requiredOption("--config <file>", "the job.yaml")
    .option("--provider <name>", "which provider, where several are google-wif", parseName)
    .option("--jwks-file <file>", "where the output of `google jwks` is", "jwks.json")
    .option("--json", "print JSON for other programs")
    .action(async (options: GoogleCommandOptions) => {
      const { setupCommands } = await import(
        "../coordinator/providers/google-wif/setup-commands.ts"
      );
      const { name, wif } = await chosen(io, options);
      const lines = setupCommands(wif, options.jwksFile ?? "jwks.json");
      if (options.json === true) {
        const commands = lines.filter((line) => !line.startsWith("#"));
        sayJson(io, { provider: name, commands });
      } else for (const line of lines) say(io, line);
      finish(EXIT.done);
    });
}

interface Chosen {
  readonly name: string;
  readonly wif: GoogleWifOptions;
  /** What relative paths are relative to. */
  readonly baseDir: string;
}

/** @throws EvergrantError CONFIG_INVALID where there is no such provider, or more than one */
async function chosen(io: CliIo, options: GoogleCommandOptions): Promise<Chosen> {
  const { readJobConfig, resolveProviders } = await import("../coordinator/config.ts");
  const { googleWifOptionsSchema } = await import("../coordinator/providers/google-wif/options.ts");
  const file = resolve(io.workingDir, options.config);
  const found = (await resolveProviders(await readJobConfig(file))).filter(
    ({ config }) =>
      config.kind === KIND && (options.provider === undefined || config.name === options.provider),
  );
  const [only, ...more] = found;
  if (only === undefined) {
    const which = options.provider === undefined ? "" : ` of the name ${options.provider}`;
    throw new EvergrantError("CONFIG_INVALID", `${options.config} has no ${KIND} provider${which}`);
  }
  if (more.length > 0) {
    const names = found.map(({ config }) => config.name).join(", ");
    const message = `${options.config} has several ${KIND} providers (${names}): name one with --provider`;
    throw new EvergrantError("CONFIG_INVALID", message);
  }
  const wif = googleWifOptionsSchema.parse(only.options);
  return { name: only.config.name, wif, baseDir: dirname(file) };
}
