/**
 * `evergrant sts-emulator`: a stand-in for AWS STS on loopback, to try evergrant without AWS. What it
 * issues opens nothing. Unknown to `--help`'s users in production, so it says what it is.
 */
import { chmod, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { EvergrantError, EXIT } from "../protocol/errors.ts";
import type { DurationMs } from "../protocol/time.ts";
import { parseCount, parseDuration } from "./arguments.ts";
import { type CliIo, say, sayJson } from "./io.ts";
import type { Finish } from "./program.ts";
import { onStop } from "./signals.ts";

interface StsEmulatorOptions {
  readonly port: number;
  readonly lifetime?: DurationMs;
  readonly credentialsFile: string;
  readonly json?: boolean;
}

export function registerStsEmulator(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("sts-emulator")
    .description("run an emulator of AWS STS on loopback, to try evergrant without AWS")
    .option("--port <n>", "port on 127.0.0.1; 0: a free one", parseCount(0, 65_535), 0)
    .option("--lifetime <duration>", "of what it issues (default: as asked for)", parseDuration)
    .requiredOption("--credentials-file <file>", "where to write a key that it accepts (0600)")
    .option("--json", "print JSON for other programs")
    .action(async (options: StsEmulatorOptions) => {
      const { startStsEmulator } = await import("../emulators/aws-sts/server.ts");
      const { port, lifetime } = options;
      const file = resolve(io.workingDir, options.credentialsFile);
      const emulator = await startStsEmulator({
        clock: io.clock,
        random: io.random,
        port,
        knobs: lifetime === undefined ? {} : { lifetimeMs: lifetime },
      });
      try {
        await writeProfile(file, emulator.baseCredentials);
        const { url } = emulator;
        if (options.json === true) sayJson(io, { url, credentialsFile: file });
        else say(io, `STS emulator at ${url}; a key that it accepts is in ${file}`);
        await new Promise<void>(
          (stop) =>
            void onStop(
              io,
              () => stop(),
              () => stop(),
            ),
        );
      } finally {
        await emulator.stop();
      }
      finish(EXIT.done);
    });
}

/** An AWS shared credentials file with the emulator's base key as its default profile. */
export async function writeProfile(
  file: string,
  key: { readonly accessKeyId: string; readonly secretAccessKey: { reveal(): string } },
): Promise<void> {
  const text = `[default]\naws_access_key_id = ${key.accessKeyId}\naws_secret_access_key = ${key.secretAccessKey.reveal()}\n`;
  try {
    await writeFile(file, text, { mode: 0o600 });
    await chmod(file, 0o600);
  } catch (cause) {
    throw new EvergrantError("FILE_UNUSABLE", `${file} can't be written`, { cause });
  }
}
