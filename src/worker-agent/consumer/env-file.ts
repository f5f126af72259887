/**
 * The file of `evergrant agent --env-file FILE`: lines that a POSIX shell takes with `. FILE`. Owns
 * the quoting. The file may hold an authorization token, so only its owner may read it.
 */
import { resolve } from "node:path";
import { EvergrantError } from "../../protocol/errors.ts";
import type { Random } from "../../protocol/time.ts";
import { writeAtomically } from "../../runtime/atomic-file.ts";
import type { ConsumerEnvironment } from "../ports/credential-receiver.ts";
import { shellWord } from "../receivers/shell-word.ts";

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * `unset K` lines, then `export K='V'` lines, each sorted. NO_PROXY is put after what the reader's shell has.
 *
 * @throws EvergrantError `CONFIG_INVALID` for a variable that no shell can hold.
 */
export function envFileText(environment: ConsumerEnvironment): string {
  const lines = [
    ...[...environment.unset].sort().map((name) => `unset ${checked(name)}`),
    ...Object.entries(environment.set)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `export ${checked(name)}=${kept(name)}${shellWord(value)}`),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

/** Replaces the file, mode 0600. @throws EvergrantError `FILE_UNUSABLE`, `CONFIG_INVALID` */
export async function writeEnvFile(
  path: string,
  environment: ConsumerEnvironment,
  random: Random,
): Promise<void> {
  const content = Buffer.from(envFileText(environment));
  try {
    await writeAtomically({ path: resolve(path), content, mode: 0o600, random });
  } catch (error) {
    const { details } = EvergrantError.from(error, "FILE_UNUSABLE", "writing the environment file");
    throw new EvergrantError(
      "FILE_UNUSABLE",
      `the environment file ${path} cannot be written (${details["systemCode"] ?? "unknown"})`,
      { cause: error, details },
    );
  }
}

const kept = (name: string): string =>
  name.toUpperCase() === "NO_PROXY" ? `"\${${name}:+$${name},}"` : "";

function checked(name: string): string {
  if (NAME.test(name)) return name;
  throw new EvergrantError("CONFIG_INVALID", `"${name}" is no name of an environment variable`);
}
