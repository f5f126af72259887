/**
 * Provider `exec`: any command that prints a credential, or writes a Hadoop token file. It covers
 * issuers that have no provider. See docs/providers/exec.md for the forms and the exit codes.
 */
import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { AWS_SESSION, GOOGLE_TOKEN, HADOOP_TOKENS } from "../../../protocol/credential.ts";
import { type ErrorCode, EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import { type DurationMs, durationMs, seconds } from "../../../protocol/time.ts";
import type {
  CredentialProvider,
  CredentialProviderFactory,
  ObtainContext,
  Obtained,
  ProviderServices,
} from "../../ports/credential-provider.ts";
import { parseHadoopTokenFile } from "./hadoop-token-file.ts";
import { type ExecOptions, execOptionsSchema } from "./options.ts";
import { readOutput } from "./read-output.ts";
import { type Ended, runCommand } from "./run-command.ts";

/** Exit codes with a meaning, from sysexits.h. Any other but 0 is PROVIDER_FAILED. */
const EXIT_CODES: Readonly<Record<number, ErrorCode>> = {
  75: "ISSUER_UNAVAILABLE",
  77: "ISSUER_DENIED",
  78: "ISSUER_REQUEST_INVALID",
};

/** What clients of each kind want to remain, see the SPI; 0 for any other kind. */
const MIN_REMAINING_SEC: Readonly<Record<string, number>> = {
  [AWS_SESSION]: 16 * 60,
  [GOOGLE_TOKEN]: 6 * 60,
};

class ExecProvider implements CredentialProvider {
  readonly credentialKind: string;
  readonly minRemaining: DurationMs;
  readonly #options: ExecOptions;
  readonly #services: ProviderServices;

  constructor(given: ExecOptions, services: ProviderServices) {
    const options = pathsFrom(services.baseDir, given);
    const ofOutput = options.output === "json" ? AWS_SESSION : HADOOP_TOKENS;
    this.credentialKind = options.credentialKind ?? ofOutput;
    const remaining = options.minRemainingSec ?? MIN_REMAINING_SEC[this.credentialKind];
    this.minRemaining = remaining === undefined ? durationMs(0) : seconds(remaining);
    this.#options = options;
    this.#services = services;
  }

  async obtain(context: ObtainContext): Promise<Obtained> {
    const { command, output, env, passEnv, cwd } = this.#options;
    const before = output === "json" ? undefined : await stampOf(output.hadoopTokenFile);
    context.countRequest();
    const ended = await runCommand(
      { argv: command, env: { ...env, ...this.#situation(context) }, passEnv, cwd },
      context.signal,
      this.#services.clock,
    );
    this.#judge(ended);
    const read =
      output === "json"
        ? readOutput(ended.stdout.reveal(), this.credentialKind)
        : await this.#readTokenFile(output.hadoopTokenFile, before, context.signal);
    return { ...read, attributes: { ...this.#options.attributes, ...read.attributes } };
  }

  async close(): Promise<void> {
    // Every command ends with its attempt.
  }

  /** What the command may want to know. */
  #situation({ freshIdentity, replace }: ObtainContext): Record<string, string> {
    const { name, tenant, job } = this.#services;
    const { output } = this.#options;
    return {
      EVERGRANT_TENANT: tenant,
      EVERGRANT_JOB: job,
      EVERGRANT_PROVIDER: name,
      EVERGRANT_CREDENTIAL_KIND: this.credentialKind,
      EVERGRANT_FRESH_IDENTITY: freshIdentity ? "1" : "0",
      EVERGRANT_REPLACE: replace ? "1" : "0",
      ...(output === "json" ? {} : { EVERGRANT_TOKEN_FILE: output.hadoopTokenFile }),
    };
  }

  #judge({ exitCode, exitSignal, stderrBytes }: Ended): void {
    if (exitCode === 0) return;
    const [program = ""] = this.#options.command;
    const code = exitCode === undefined ? undefined : EXIT_CODES[exitCode];
    const how = exitCode === undefined ? `by ${exitSignal ?? "a signal"}` : `with ${exitCode}`;
    const message = `the command ${program} ended ${how}; it wrote ${stderrBytes} bytes to its standard error, which may hold secrets and is not shown`;
    const details = { program, stderrBytes, ...(exitCode === undefined ? {} : { exitCode }) };
    throw new EvergrantError(code ?? "PROVIDER_FAILED", message, { details });
  }

  async #readTokenFile(
    path: string,
    before: string | undefined,
    signal: AbortSignal,
  ): Promise<Obtained> {
    if ((await stampOf(path)) === before) {
      const message = `the command ended with 0, and did not write the token file ${path}`;
      throw new EvergrantError("ISSUER_ANSWER_UNUSABLE", message, { details: { path } });
    }
    let bytes: Buffer;
    try {
      bytes = await readFile(path, { signal });
    } catch (thrown) {
      const reason = (thrown as NodeJS.ErrnoException).code ?? "unknown";
      const message = `the command left no readable token file at ${path} (${reason})`;
      throw new EvergrantError("ISSUER_ANSWER_UNUSABLE", message, { details: { path, reason } });
    }
    const { tokens, expiresAt } = parseHadoopTokenFile(bytes);
    return { material: new Secret(tokens), expiresAt, attributes: {} };
  }
}

/** The options with every path in them absolute. A program without a slash is looked up on the PATH. */
function pathsFrom(baseDir: string, options: ExecOptions): ExecOptions {
  const { command, output, cwd } = options;
  const [program = "", ...args] = command;
  return {
    ...options,
    command: [program.includes("/") ? resolve(baseDir, program) : program, ...args],
    output:
      output === "json" ? output : { hadoopTokenFile: resolve(baseDir, output.hadoopTokenFile) },
    cwd: resolve(baseDir, cwd ?? "."),
  };
}

/** Tells one writing of a file from the next; undefined where there is none. */
async function stampOf(path: string): Promise<string | undefined> {
  try {
    const { ino, mtimeNs } = await stat(path, { bigint: true });
    return `${ino}.${mtimeNs}`;
  } catch {
    return undefined;
  }
}

export const execProvider: CredentialProviderFactory<ExecOptions> = {
  kind: "exec",
  options: execOptionsSchema,
  create: (options, services) => new ExecProvider(options, services),
};
