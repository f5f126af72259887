/**
 * Receiver `aws-container`: the container credentials endpoint on loopback, the one convention that
 * every AWS SDK reads again by itself (delivery.md, sections 2.1 to 2.4). Owns the listener's life,
 * its token and port, and the environment that leads consumers to it; the serving itself is
 * ../credential-endpoint.ts.
 */

import { mkdir } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { AWS_SESSION } from "../../../protocol/credential.ts";
import { Secret } from "../../../protocol/secret.ts";
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
import { containerBody } from "../aws-session-body.ts";
import { CredentialEndpoint } from "../credential-endpoint.ts";
import { groupId, userId } from "../file-mode.ts";
import type { Refusal } from "../http-answers.ts";
import { takePort } from "../loopback-port.ts";
import type { ProbeTarget } from "../probe.ts";
import { keepToken, newToken, tokenJudge } from "./access-token.ts";
import { type AwsContainerOptions, awsContainerOptions } from "./options.ts";

/** The path of the endpoint (delivery.md, section 8). */
export const AWS_CONTAINER_PATH = "/v1/aws/credentials";

const WRONG_HOST: Refusal = {
  outcome: "wrong-host",
  status: 403,
  code: "WrongHost",
  message: "The Host header must be 127.0.0.1, localhost or [::1] with the endpoint's port.",
};

function judgeHost(request: IncomingMessage): Refusal | undefined {
  const [, name, port = "80"] =
    /^(127\.0\.0\.1|localhost|\[::1\])(?::([0-9]+))?$/i.exec(request.headers.host ?? "") ?? [];
  const right = name !== undefined && Number(port) === request.socket.localPort;
  return right ? undefined : WRONG_HOST;
}

class AwsContainerReceiver implements CredentialReceiver {
  readonly #options: AwsContainerOptions;
  readonly #services: ReceiverServices;
  readonly #endpoint: CredentialEndpoint;
  #judgeCaller: (request: IncomingMessage) => Refusal | undefined = () => WRONG_HOST;
  #targets: readonly ProbeTarget[] = [];
  #region: string | undefined;

  constructor(options: AwsContainerOptions, services: ReceiverServices) {
    this.#options = options;
    this.#services = services;
    this.#region = options.region;
    this.#endpoint = new CredentialEndpoint({
      path: AWS_CONTAINER_PATH,
      hold: durationMs(options.holdMs),
      // Against DNS rebinding: a page in a browser reaches loopback, but under its own name.
      judgeHost,
      judgeCaller: (request) => this.#judgeCaller(request),
      clock: services.clock,
      random: services.random,
      observe: services.observe?.bind(services),
    });
  }

  /** The returned `set` grows AWS_REGION once a credential that names one is applied: read it after that. */
  async start(): Promise<ConsumerEnvironment> {
    const { random, log, stateDir } = this.#services;
    await mkdir(this.#folder(), { recursive: true, mode: 0o700 });
    const token = await this.#token();
    const hiddenProfiles = await this.#hiddenProfiles();
    this.#judgeCaller = tokenJudge(token.value);
    const port = await takePort(
      {
        port: this.#options.port,
        ipv6: this.#options.ipv6,
        memory: stateDir === undefined ? undefined : join(stateDir, `${this.#name()}.port`),
        random,
        warn: (message, facts) => log("warn", message, facts),
      },
      (where) => this.#endpoint.listen(where),
    );
    const headers = { authorization: token.value.reveal() };
    this.#targets = (this.#options.ipv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"]).map((host) => ({
      host,
      port,
      headers,
    }));
    const own = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://127.0.0.1:${port}${AWS_CONTAINER_PATH}`,
      ...token.environment,
      ...hiddenProfiles,
    };
    const region = (): string | undefined => this.#region;
    return {
      get set() {
        return awsEnvironment(own, region()).set;
      },
      unset: awsEnvironment(own, undefined).unset,
    };
  }

  async apply(serving: Serving): Promise<void> {
    const body = containerBody(serving.credential);
    await this.#endpoint.serve(body, serving.until, this.#targets);
    this.#region = this.#options.region ?? serving.credential.attributes["region"] ?? this.#region;
  }

  async withdraw(): Promise<void> {
    this.#endpoint.clear();
  }

  async stop(): Promise<void> {
    await this.#endpoint.close();
  }

  /** Exactly one of the two variables: SDKs differ in which one wins. */
  async #token(): Promise<{ value: Secret<string>; environment: Record<string, string> }> {
    const { tokenIn, tokenFile, tokenFileMode, tokenFileOwner, tokenFileGroup } = this.#options;
    const { random, stateDir } = this.#services;
    if (tokenIn === "environment" && tokenFile === undefined && stateDir === undefined) {
      const token = newToken(random);
      return {
        value: new Secret(token),
        environment: { AWS_CONTAINER_AUTHORIZATION_TOKEN: token },
      };
    }
    const path = tokenFile ?? join(this.#folder(), `${this.#name()}.token`);
    const uid = userId(tokenFileOwner);
    const gid = groupId(tokenFileGroup);
    const value = await keepToken({ path, mode: tokenFileMode, uid, gid }, random);
    const environment: Record<string, string> =
      tokenIn === "file"
        ? { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: path }
        : { AWS_CONTAINER_AUTHORIZATION_TOKEN: value.reveal() };
    return { value, environment };
  }

  /** An empty file in place of ~/.aws: its default profile wins over the endpoint in most SDKs. */
  async #hiddenProfiles(): Promise<Record<string, string>> {
    if (this.#options.profiles === "keep") return {};
    const { random } = this.#services;
    const path = join(this.#folder(), `${this.#name()}.no-profiles`);
    await writeAtomically({ path, content: new Uint8Array(), mode: 0o444, random });
    return { AWS_SHARED_CREDENTIALS_FILE: path, AWS_CONFIG_FILE: path };
  }

  #folder(): string {
    return this.#services.stateDir ?? this.#services.workDir;
  }

  #name(): string {
    return `aws-container.${this.#services.provider}`;
  }
}

export const awsContainerFactory: CredentialReceiverFactory<AwsContainerOptions> = {
  kind: "aws-container",
  serves: [AWS_SESSION],
  byConvention: true,
  options: awsContainerOptions,
  create: (options, services) => new AwsContainerReceiver(options, services),
};
