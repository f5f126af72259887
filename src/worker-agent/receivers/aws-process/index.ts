/**
 * Receiver `aws-process`: answers `credential_process` commands over a Unix socket, for tools that
 * read only profiles (delivery.md, section 2.5). Owns the socket's life and the profile file; the
 * serving itself is ../credential-endpoint.ts.
 */
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { AWS_SESSION } from "../../../protocol/credential.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { durationMs } from "../../../protocol/time.ts";
import { writeAtomically } from "../../../runtime/atomic-file.ts";
import type {
  ConsumerEnvironment,
  CredentialReceiver,
  CredentialReceiverFactory,
  ReceiverServices,
  Serving,
} from "../../ports/credential-receiver.ts";
import { awsEnvironment } from "../aws-environment.ts";
import { processBody } from "../aws-session-body.ts";
import { CredentialEndpoint } from "../credential-endpoint.ts";
import { type AwsProcessOptions, awsProcessOptions } from "./options.ts";
import { AWS_PROCESS_PATH } from "./path.ts";
import { profileFile } from "./profile-file.ts";
import { listenAt, socketPath } from "./socket-place.ts";

class AwsProcessReceiver implements CredentialReceiver {
  readonly #options: AwsProcessOptions;
  readonly #services: ReceiverServices;
  readonly #endpoint: CredentialEndpoint;
  #socket = "";
  #region: string | undefined;

  constructor(options: AwsProcessOptions, services: ReceiverServices) {
    this.#options = options;
    this.#services = services;
    this.#region = options.region;
    this.#endpoint = new CredentialEndpoint({
      path: AWS_PROCESS_PATH,
      hold: durationMs(options.holdMs),
      clock: services.clock,
      random: services.random,
      observe: services.observe?.bind(services),
    });
  }

  /** Without `configFile` consumers need nothing in their environment: their own profile names the socket. */
  async start(): Promise<ConsumerEnvironment> {
    const { provider, stateDir, workDir, clock } = this.#services;
    this.#socket = socketPath(this.#options.socket, stateDir ?? workDir, `aws-process.${provider}`);
    await listenAt(this.#socket, (where) => this.#endpoint.listen(where), clock);
    const { configFile } = this.#options;
    if (configFile === undefined) return { set: {}, unset: [] };
    try {
      return await this.#profileEnvironment(configFile);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async apply(serving: Serving): Promise<void> {
    const body = processBody(serving.credential);
    await this.#endpoint.serve(body, serving.until, [{ socketPath: this.#socket }]);
    await this.#noteRegion(serving.credential.attributes["region"]);
  }

  async withdraw(): Promise<void> {
    this.#endpoint.clear();
  }

  async stop(): Promise<void> {
    await this.#endpoint.close(); // which removes the socket's file too
  }

  async #profileEnvironment(configFile: string): Promise<ConsumerEnvironment> {
    await this.#writeProfile(configFile);
    const empty = join(dirname(configFile), `.${this.#options.profile}.no-credentials`);
    const { random } = this.#services;
    await writeAtomically({ path: empty, content: new Uint8Array(), mode: 0o444, random });
    const own = {
      AWS_CONFIG_FILE: configFile,
      AWS_SHARED_CREDENTIALS_FILE: empty,
      AWS_PROFILE: this.#options.profile,
      AWS_SDK_LOAD_CONFIG: "1", // without it Go SDK v1 reads no configuration file
    };
    const region = (): string | undefined => this.#region;
    return {
      get set() {
        return awsEnvironment(own, region()).set;
      },
      unset: awsEnvironment(own, undefined).unset,
    };
  }

  /** The credential is served by now, so a profile that cannot be written is no failure to apply. */
  async #noteRegion(named: string | undefined): Promise<void> {
    const region = this.#options.region ?? named;
    if (region === undefined || region === this.#region) return;
    const former = this.#region;
    this.#region = region;
    if (this.#options.configFile === undefined) return;
    try {
      await this.#writeProfile(this.#options.configFile);
    } catch (error) {
      this.#region = former; // so that the next rotation tries again
      const { message } = EvergrantError.from(error, "RECEIVER_FAILED", "writing the profile");
      this.#services.log("warn", message);
    }
  }

  async #writeProfile(path: string): Promise<void> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const { profile, command, configFileMode } = this.#options;
    const text = profileFile({ profile, command, socket: this.#socket, region: this.#region });
    await writeAtomically({
      path,
      content: Buffer.from(text),
      mode: configFileMode,
      random: this.#services.random,
    });
  }
}

export const awsProcessFactory: CredentialReceiverFactory<AwsProcessOptions> = {
  kind: "aws-process",
  serves: [AWS_SESSION],
  byConvention: false,
  options: awsProcessOptions,
  create: (options, services) => new AwsProcessReceiver(options, services),
};
