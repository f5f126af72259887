/**
 * Receiver `exec`: runs a command after each rotation. Applied means that the command ended with 0.
 * Owns what the command is told and how; runs are ../exec/run-command.ts. One at a time, the newest
 * first.
 */
import { join } from "node:path";
import type { Credential } from "../../../protocol/credential.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { seconds, toRfc3339 } from "../../../protocol/time.ts";
import { removeDurably, writeAtomically } from "../../../runtime/atomic-file.ts";
import type {
  ConsumerEnvironment,
  CredentialReceiver,
  CredentialReceiverFactory,
  ReceiverServices,
  Serving,
} from "../../ports/credential-receiver.ts";
import { credentialDocument } from "../credential-document.ts";
import { Turns } from "../turns.ts";
import { type ExecOptions, execOptions } from "./options.ts";
import { runCommand } from "./run-command.ts";

class ExecReceiver implements CredentialReceiver {
  readonly #options: ExecOptions;
  readonly #services: ReceiverServices;
  readonly #turns = new Turns();
  readonly #stop = new AbortController();

  constructor(options: ExecOptions, services: ReceiverServices) {
    this.#options = options;
    this.#services = services;
  }

  async start(): Promise<ConsumerEnvironment> {
    return { set: {}, unset: [] };
  }

  apply(serving: Serving): Promise<void> {
    return this.#turns.take(async () => {
      if (this.#services.clock.now().mono >= serving.until) {
        throw new EvergrantError("RECEIVER_FAILED", "the credential has ended before the command");
      }
      await this.#tell(serving.credential);
      return true;
    });
  }

  withdraw(): Promise<void> {
    return this.#turns.take(async () => {
      const { onWithdraw } = this.#options;
      if (onWithdraw !== undefined) await this.#run(onWithdraw, this.#facts("withdrawn"));
      return true;
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#turns.idle();
  }

  async #tell(credential: Credential): Promise<void> {
    const { command, input } = this.#options;
    const facts = { ...this.#facts("applied"), ...factsOf(credential) };
    if (input === "none") return this.#run(command, facts);
    const text = `${JSON.stringify(credentialDocument(credential))}\n`;
    if (input === "stdin") return this.#run(command, facts, text);
    const { workDir, provider, random } = this.#services;
    const path = join(workDir, `exec.${provider}.${Buffer.from(random.bytes(6)).toString("hex")}`);
    await writeAtomically({ path, content: Buffer.from(text), mode: 0o600, random });
    try {
      await this.#run(command, { ...facts, EVERGRANT_CREDENTIAL_FILE: path });
    } finally {
      await removeDurably(path);
    }
  }

  #run(
    command: readonly string[],
    facts: Readonly<Record<string, string>>,
    input?: string,
  ): Promise<void> {
    const { timeoutSec, env, passEnv, cwd, output } = this.#options;
    return runCommand({
      command,
      env: { ...inherited(passEnv), ...env, ...facts },
      cwd,
      input,
      output,
      limit: seconds(timeoutSec),
      clock: this.#services.clock,
      stopped: this.#stop.signal,
    });
  }

  #facts(event: "applied" | "withdrawn"): Record<string, string> {
    const { tenant, job, agent, provider } = this.#services;
    return {
      EVERGRANT_EVENT: event,
      EVERGRANT_TENANT: tenant,
      EVERGRANT_JOB: job,
      EVERGRANT_AGENT: agent,
      EVERGRANT_PROVIDER: provider,
    };
  }
}

const factsOf = (credential: Credential): Record<string, string> => ({
  EVERGRANT_KIND: credential.kind,
  EVERGRANT_GENERATION: String(credential.generation),
  EVERGRANT_EXPIRES_AT: toRfc3339(credential.expiresAt),
});

/** What any program needs; the agent's other variables may hold what is not the command's business. */
const ALWAYS_PASSED = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

function inherited(passEnv: readonly string[]): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const name of [...ALWAYS_PASSED, ...passEnv]) {
    const value = process.env[name];
    if (value !== undefined) passed[name] = value;
  }
  return passed;
}

export const execFactory: CredentialReceiverFactory<ExecOptions> = {
  kind: "exec",
  serves: ["*"],
  byConvention: false,
  options: execOptions,
  create: (options, services) => new ExecReceiver(options, services),
};
