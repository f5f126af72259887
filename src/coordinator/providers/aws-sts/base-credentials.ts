/**
 * The coordinator's own AWS credentials, which sign AssumeRole and GetSessionToken. Owns when they
 * are read again: at each use where they have no end, half-way through their life where they have
 * one, and at once where STS has rejected them. Every request to STS under them goes through
 * client.ts, so that it is counted and not retried.
 */
import { fromIni, fromNodeProviderChain } from "@aws-sdk/credential-providers";
import { EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import {
  between,
  type Clock,
  durationMs,
  type EpochMs,
  epochMs,
  later,
  type MonoMs,
} from "../../../protocol/time.ts";
import {
  callSts,
  identityOf,
  type StsCall,
  type StsRequest,
  type StsSigner,
  type StsTarget,
} from "./client.ts";
import { readTokenFile } from "./files.ts";
import type { BaseOptions } from "./options.ts";

/** What the SDK hands out, as far as it matters here. */
interface SdkIdentity extends StsSigner {
  readonly expiration?: Date;
  /** The SDK's own note of how it came by it. */
  readonly $source?: Readonly<Record<string, unknown>>;
}

interface Held {
  readonly signer: Secret<StsSigner>;
  /** True where it is known to be a role's session, so that assuming another role is chaining. */
  readonly roleSession: boolean;
  /** Undefined: no end, so never reused. */
  readonly life: { readonly refreshAt: MonoMs; readonly endsAt: MonoMs } | undefined;
}

export interface BaseServices {
  readonly clock: Clock;
  /** For the session of a base role. */
  readonly sessionName: string;
  log(level: "info" | "warn", message: string, facts?: Readonly<Record<string, unknown>>): void;
}

/** Ways to come by a credential (names of the SDK's) that make it a role's session. */
const ROLE_SOURCES = [
  "CREDENTIALS_STS_ASSUME_ROLE",
  "CREDENTIALS_STS_ASSUME_ROLE_WEB_ID",
  "CREDENTIALS_STS_ASSUME_ROLE_SAML",
  "CREDENTIALS_SSO",
  "CREDENTIALS_SSO_LEGACY",
  "CREDENTIALS_HTTP",
  "CREDENTIALS_IMDS",
];

export class BaseCredentials {
  readonly #options: BaseOptions | undefined;
  readonly #target: StsTarget;
  readonly #services: BaseServices;
  #held: Held | undefined;

  constructor(options: BaseOptions | undefined, target: StsTarget, services: BaseServices) {
    this.#options = options;
    this.#target = target;
    this.#services = services;
  }

  /**
   * The signer to use now. With `fresh`, nothing that is held is used.
   * @throws EvergrantError PROVIDER_INPUT_MISSING where there are none, ISSUER_* where STS refuses.
   */
  async current(
    call: StsCall,
    fresh: boolean,
  ): Promise<StsSigner & { readonly roleSession: boolean }> {
    const { mono } = this.#services.clock.now();
    const life = fresh ? undefined : this.#held?.life;
    if (this.#held === undefined || life === undefined || mono >= life.refreshAt) {
      try {
        this.#held = await this.#read(call);
      } catch (thrown) {
        if (life === undefined || mono >= life.endsAt || call.signal.aborted) throw thrown;
        const error = EvergrantError.from(
          thrown,
          "PROVIDER_FAILED",
          "reading the base credentials",
        );
        const facts = { code: error.code, leftMs: Math.round(between(mono, life.endsAt)) };
        this.#services.log(
          "warn",
          "the base credentials could not be refreshed; those held still live",
          facts,
        );
      }
    }
    if (this.#held === undefined) throw new EvergrantError("INTERNAL", "no base credentials held");
    return { ...this.#held.signer.reveal(), roleSession: this.#held.roleSession };
  }

  forget(): void {
    this.#held = undefined;
  }

  async #read(call: StsCall): Promise<Held> {
    const options = this.#options;
    if (options !== undefined && "webIdentity" in options) {
      const { roleArn, tokenFile, sessionName = this.#services.sessionName } = options.webIdentity;
      const token = await readTokenFile(tokenFile, call.signal);
      return this.#assume(call, undefined, {
        action: "AssumeRoleWithWebIdentity",
        input: {
          RoleArn: roleArn,
          RoleSessionName: sessionName,
          WebIdentityToken: token.reveal(),
        },
      });
    }
    return this.#readFromSdk(call, options);
  }

  /** One role of the chain that leads to the base credentials. */
  async #assume(call: StsCall, signer: StsSigner | undefined, request: StsRequest): Promise<Held> {
    const answer = await callSts(this.#target, request, signer, call);
    const { accessKeyId, secretAccessKey, sessionToken, expiresAt } = answer;
    if (accessKeyId === undefined || secretAccessKey === undefined || sessionToken === undefined) {
      const message = `STS ${request.action} for the base credentials answered without a credential`;
      throw new EvergrantError("ISSUER_ANSWER_UNUSABLE", message);
    }
    return {
      signer: new Secret({ accessKeyId, secretAccessKey, sessionToken }),
      roleSession: true,
      life: this.#lifeUntil(expiresAt, answer.issuerTime),
    };
  }

  async #readFromSdk(call: StsCall, options: BaseOptions | undefined): Promise<Held> {
    let assumed: Held | undefined;
    const assume = async (signer: StsSigner | undefined, request: StsRequest) => {
      assumed = await this.#assume(call, signer, request);
      return identityOf(assumed.signer.reveal());
    };
    const init = {
      // Files are read anew: a profile that somebody rotates must be found.
      ignoreCache: true,
      clientConfig: { maxAttempts: 1, region: this.#target.region },
      parentClientConfig: { region: this.#target.region },
      roleAssumer: (source: StsSigner, input: RoleInput<"AssumeRole">) =>
        assume(source, { action: "AssumeRole", input }),
      roleAssumerWithWebIdentity: (input: RoleInput<"AssumeRoleWithWebIdentity">) =>
        assume(undefined, { action: "AssumeRoleWithWebIdentity", input }),
    };
    const provide =
      options !== undefined && "profile" in options
        ? fromIni({
            ...init,
            profile: options.profile,
            ...(options.credentialsFile === undefined ? {} : { filepath: options.credentialsFile }),
            ...(options.configFile === undefined ? {} : { configFilepath: options.configFile }),
          })
        : fromNodeProviderChain(init);
    const identity = await this.#bounded<SdkIdentity>(provide(), call.signal);
    // The last role of a profile's chain is what signs, and its end is STS's own.
    if (assumed !== undefined) return assumed;
    const { accessKeyId, secretAccessKey, sessionToken, expiration, $source } = identity;
    return {
      signer: new Secret({ accessKeyId, secretAccessKey, sessionToken }),
      roleSession: ROLE_SOURCES.some((name) => $source?.[name] !== undefined),
      life: this.#lifeUntil(expiration === undefined ? undefined : epochMs(expiration.getTime())),
    };
  }

  /** The SDK's providers take no signal: the attempt ends, and what they still do ends by itself. */
  async #bounded<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    let stop: (() => void) | undefined;
    const aborted = new Promise<never>((_resolve, reject) => {
      stop = () => {
        const message = "the base credentials could not be read in time";
        reject(new EvergrantError("ISSUER_TIMEOUT", message));
      };
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
    });
    try {
      return await Promise.race([work, aborted]);
    } catch (thrown) {
      if (thrown instanceof EvergrantError) throw thrown;
      const what = thrown instanceof Error ? thrown.name : typeof thrown;
      const where = this.#where();
      const message = `no base credentials from ${where} (${what})`;
      // The SDK's text may quote what a credential process has printed: it is not passed on (I9).
      throw new EvergrantError("PROVIDER_INPUT_MISSING", message, { details: { where } });
    } finally {
      if (stop !== undefined) signal.removeEventListener("abort", stop);
    }
  }

  #where(): string {
    const options = this.#options;
    if (options === undefined) return "the AWS SDK's default chain";
    return "profile" in options ? `profile ${options.profile}` : "web identity";
  }

  #lifeUntil(expiresAt: EpochMs | undefined, issuerNow?: EpochMs): Held["life"] {
    if (expiresAt === undefined) return undefined;
    const { wall, mono } = this.#services.clock.now();
    const left = Math.max(0, between(issuerNow ?? wall, expiresAt));
    return { refreshAt: later(mono, durationMs(left / 2)), endsAt: later(mono, durationMs(left)) };
  }
}

type RoleInput<Action extends StsRequest["action"]> = Extract<
  StsRequest,
  { action: Action }
>["input"];
