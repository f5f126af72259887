/**
 * Provider `aws-sts`: sessions from AssumeRole, AssumeRoleWithWebIdentity and GetSessionToken.
 * One attempt is one request to STS; base credentials that have to be obtained first cost their own,
 * and all are counted. See docs/providers/aws-sts.md.
 */
import { seconds } from "../../../protocol/time.ts";
import type {
  CredentialProvider,
  CredentialProviderFactory,
  ObtainContext,
  Obtained,
  ProviderServices,
} from "../../ports/credential-provider.ts";
import {
  assembleRequest,
  CREDENTIAL_KIND,
  defaultSessionName,
  type ReadInputs,
  readAnswer,
} from "./assemble.ts";
import { BaseCredentials } from "./base-credentials.ts";
import { callSts, type StsCall, type StsSigner } from "./client.ts";
import { pathsFrom, readPolicyFile, readTokenFile } from "./files.ts";
import { type AwsStsOptions, awsStsOptionsSchema } from "./options.ts";

/** STS refuses a longer session where a role's session assumes the next role. */
const CHAINED_MAX_SEC = 3_600;
const PACKED_WARN_PERCENT = 80;

class AwsStsProvider implements CredentialProvider {
  readonly credentialKind = CREDENTIAL_KIND;
  /** Outside of the 15 min in which botocore and the Java SDK do not cache what they are handed. */
  readonly minRemaining = seconds(16 * 60);
  readonly #options: AwsStsOptions;
  readonly #services: ProviderServices;
  readonly #base: BaseCredentials;
  readonly #offset = { ms: 0 };
  #warnedOfChain = false;

  constructor(given: AwsStsOptions, services: ProviderServices) {
    const options = pathsFrom(services.baseDir, given);
    this.#options = options;
    this.#services = services;
    const base = options.action === "AssumeRoleWithWebIdentity" ? undefined : options.base;
    this.#base = new BaseCredentials(base, options, {
      clock: services.clock,
      sessionName: defaultSessionName(services.job),
      log: (level, message, facts) => services.log(level, message, facts),
    });
    if (base !== undefined && "webIdentity" in base) this.#warnOfChain();
  }

  async obtain(context: ObtainContext): Promise<Obtained> {
    const { signal } = context;
    const call = { signal, countRequest: () => context.countRequest(), offset: this.#offset };
    const inputs = await this.#read(signal);
    const name = defaultSessionName(this.#services.job);
    const request = assembleRequest(this.#options, inputs, name);
    const signer = await this.#signer(call, context.freshIdentity);
    const answer = await callSts(this.#options, request, signer, call);
    const percent = answer.packedPolicyPercent ?? 0;
    if (percent > PACKED_WARN_PERCENT) {
      this.#services.log("warn", "session policy and tags are close to what STS packs", {
        percent,
      });
    }
    return readAnswer(answer, this.#options);
  }

  async close(): Promise<void> {
    this.#base.forget();
  }

  async #read(signal: AbortSignal): Promise<ReadInputs> {
    const options = this.#options;
    if (options.action === "GetSessionToken") return {};
    return {
      ...(options.policyFile === undefined
        ? {}
        : { policy: await readPolicyFile(options.policyFile, signal) }),
      ...(options.action === "AssumeRoleWithWebIdentity"
        ? { webIdentityToken: await readTokenFile(options.webIdentityTokenFile, signal) }
        : {}),
    };
  }

  async #signer(call: StsCall, fresh: boolean): Promise<StsSigner | undefined> {
    if (this.#options.action === "AssumeRoleWithWebIdentity") return undefined;
    const { roleSession, ...signer } = await this.#base.current(call, fresh);
    if (roleSession) this.#warnOfChain();
    return signer;
  }

  #warnOfChain(): void {
    const { action, durationSec } = this.#options;
    if (this.#warnedOfChain || action !== "AssumeRole" || durationSec <= CHAINED_MAX_SEC) return;
    this.#warnedOfChain = true;
    this.#services.log(
      "warn",
      "durationSec is above one hour, and the base credentials are a role's session: STS caps role chaining at 3600 s and will refuse",
      { durationSec },
    );
  }
}

export const awsStsProvider: CredentialProviderFactory<AwsStsOptions> = {
  kind: "aws-sts",
  options: awsStsOptionsSchema,
  create: (options, services) => new AwsStsProvider(options, services),
};
