/**
 * Provider `hadoop`: delegation tokens of any number of services, each its own failure domain, from
 * any number of KDCs. Owns what goes into the credential; when to ask is the core's matter.
 * What it keeps between calls is in the credential itself, so that any successor can go on.
 */
import {
  type Credential,
  HADOOP_TOKENS,
  hadoopTokensSchema,
  type Material,
} from "../../../protocol/credential.ts";
import { check } from "../../../protocol/encoding.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import { durationMs, type EpochMs, epochMs, seconds } from "../../../protocol/time.ts";
import type {
  CredentialProvider,
  CredentialProviderFactory,
  ObtainContext,
  Obtained,
  ProviderServices,
} from "../../ports/credential-provider.ts";
import { assemble, type Outcome } from "./assemble.ts";
import {
  type Grant,
  type Holdings,
  holdingsOf,
  livingTokens,
  materialOf,
  NO_HOLDINGS,
  timesOf,
} from "./grants.ts";
import { type Http, http } from "./http.ts";
import { type Resolve, resolveHost } from "./labels.ts";
import { Login } from "./login.ts";
import { openNegotiator } from "./negotiator.ts";
import { type HadoopOptions, hadoopOptionsSchema, resolveServices } from "./options.ts";
import { type Plan, planAll } from "./plan.ts";
import { type CallContext, HadoopService, isDeadToken } from "./service.ts";
import { Logins, type Sessions, type SessionTools, unlessAborted } from "./sessions.ts";

/** From here on a server's clock is worth a warning (design, section 4). */
const SKEW_WARNING_MS = 30_000;

/** What the provider reaches the world by. Tests bring their own. */
export interface HadoopTools extends SessionTools {
  readonly http: Http;
  readonly resolve: Resolve;
}

class HadoopProvider implements CredentialProvider {
  readonly credentialKind = HADOOP_TOKENS;
  /** Hadoop's clients ask for nothing ahead of the end. */
  readonly minRemaining = durationMs(0);
  readonly #options: HadoopOptions;
  readonly #services: ProviderServices;
  readonly #hadoop: readonly HadoopService[];
  readonly #logins: Logins;

  constructor(options: HadoopOptions, services: ProviderServices, tools: HadoopTools) {
    this.#options = options;
    this.#services = services;
    this.#logins = new Logins(tools, services.workDir);
    this.#hadoop = resolveServices(options, services.baseDir).map(
      (service) =>
        new HadoopService(service, {
          clock: services.clock,
          http: tools.http,
          resolve: tools.resolve,
          requestTimeout: seconds(options.requestTimeoutSec),
        }),
    );
  }

  async obtain(context: ObtainContext): Promise<Obtained> {
    const held = this.#holdings(context.current);
    const sessions = this.#logins.begin(context);
    // A service that hangs must not outlast the call, or what the others obtained would be lost with it (I6).
    const limit = new AbortController();
    const cancelLimit = this.#services.clock.timer(seconds(this.#options.serviceTimeoutSec), () =>
      limit.abort(),
    );
    const turn: Turn = {
      sessions,
      signal: AbortSignal.any([context.signal, limit.signal]),
      countRequest: () => context.countRequest(),
    };
    try {
      const plans = this.#plans(held, context.replace);
      const outcomes = await Promise.all(
        this.#hadoop.map((service, at) =>
          this.#refresh(service, plans[at] ?? "reissue", held, turn),
        ),
      );
      const now = this.#services.clock.now().wall;
      const assembled = assemble(held, outcomes, now);
      const replaced = await this.#cancelReplaced(assembled.holdings, turn);
      this.#warnOfSkew();
      return this.#obtained(
        { ...assembled, holdings: { ...assembled.holdings, replaced } },
        context,
      );
    } finally {
      cancelLimit();
      sessions.close();
    }
  }

  async cancel(credential: Credential, signal: AbortSignal): Promise<void> {
    const call = { freshIdentity: false, signal, countRequest: () => undefined };
    const sessions = this.#logins.begin(call);
    const living = livingTokens(this.#holdings(credential), this.#services.clock.now().wall);
    try {
      const done = await Promise.allSettled(
        living.map(async ({ source, token }) => {
          const service = this.#hadoop.find(({ options }) => options.name === source);
          // A service that has left the configuration: its token can only be left to end.
          if (service === undefined) return;
          const negotiator = await sessions.of(service.options.login);
          await service.cancel({ negotiator, ...call }, token);
        }),
      );
      const failed = done.find((outcome) => outcome.status === "rejected");
      if (failed !== undefined) throw failed.reason;
    } finally {
      sessions.close();
    }
  }

  async close(): Promise<void> {
    await this.#logins.close();
  }

  #holdings(current: Credential | undefined): Holdings {
    if (current === undefined) return NO_HOLDINGS;
    try {
      const material = check(hadoopTokensSchema, current.material.reveal(), "hadoop-tokens");
      return holdingsOf(material, current.issuerSkew, current.expiresAt);
    } catch {
      this.#services.log("warn", "the former tokens can't be read: all are obtained anew");
      return NO_HOLDINGS;
    }
  }

  #plans(held: Holdings, replace: boolean): readonly Plan[] {
    const inputs = this.#hadoop.map((service) => {
      const grant = held.grants.get(service.options.name);
      return {
        grant: grant && timesOf(grant, service.skew),
        renewable: service.renewable,
      };
    });
    return planAll(inputs, replace, this.#services.clock.now().wall);
  }

  /** One service's turn. Never rejects: its failure is its own. */
  async #refresh(service: HadoopService, plan: Plan, held: Holdings, turn: Turn): Promise<Outcome> {
    const source = service.options.name;
    const grant = held.grants.get(source);
    if (plan === "keep" && grant !== undefined) return { source, grant, kept: true };
    const work = async (): Promise<Outcome> => {
      const negotiator = await turn.sessions.of(service.options.login);
      const call = { negotiator, signal: turn.signal, countRequest: turn.countRequest };
      return { source, grant: await this.#renewOrIssue(service, call, grant, plan === "renew") };
    };
    try {
      return await unlessAborted(turn.signal, work(), () => tooLong(source));
    } catch (thrown) {
      return {
        source,
        problem: EvergrantError.from(thrown, "PROVIDER_FAILED", `service ${source}`),
      };
    }
  }

  async #renewOrIssue(
    service: HadoopService,
    call: CallContext,
    grant: Grant | undefined,
    inPlace: boolean,
  ): Promise<Grant> {
    if (grant !== undefined && inPlace) {
      try {
        const renewed = await service.renew(call, grant);
        // Some managers answer a renewal with the end that there was: then only a new token helps.
        if (renewed.expiresAt > grant.expiresAt) return renewed;
      } catch (error) {
        if (!isDeadToken(error)) throw error;
      }
    }
    return service.issue(call);
  }

  #obtained(assembled: ReturnType<typeof assemble>, context: ObtainContext): Obtained {
    const { holdings, earliest, problem } = assembled;
    if (earliest === undefined) throw problem ?? new EvergrantError("INTERNAL", "no services");
    const unchanged =
      !assembled.changed &&
      context.current !== undefined &&
      earliest.expiresAt === this.#end(context.current);
    if (unchanged && problem !== undefined) throw problem;
    const service = this.#hadoop.find(({ options }) => options.name === earliest.source);
    const skew = service?.skew ?? durationMs(0);
    const theirs = (instant: EpochMs): EpochMs => epochMs(Math.round(instant + skew));
    return {
      material: new Secret<Material>(materialOf(holdings, skew)),
      issuedAt: theirs(earliest.renewedAt),
      expiresAt: theirs(earliest.expiresAt),
      issuerTime: theirs(this.#services.clock.now().wall),
      attributes: { services: [...holdings.grants.keys()].join(",") },
      ...(problem === undefined ? {} : { problem }),
    };
  }

  #end(credential: Credential): number {
    return credential.expiresAt - credential.issuerSkew;
  }

  /** Under `afterGrace`: ends replaced tokens whose consumers have had their time. */
  async #cancelReplaced(holdings: Holdings, turn: Turn): Promise<Holdings["replaced"]> {
    if (this.#options.cancelReplaced === "never") return holdings.replaced;
    const due = this.#services.clock.now().wall - seconds(this.#options.cancelGraceSec);
    const kept = await Promise.all(
      holdings.replaced.map(async (entry) => {
        const service = this.#hadoop.find(({ options }) => options.name === entry.source);
        if (service === undefined || entry.replacedAt > due) return [entry];
        try {
          const negotiator = await turn.sessions.of(service.options.login);
          const { signal, countRequest } = turn;
          await service.cancel({ negotiator, signal, countRequest }, entry.token);
          return [];
        } catch {
          return [entry]; // it is tried again with the next renewal, and ends by itself
        }
      }),
    );
    return kept.flat();
  }

  #warnOfSkew(): void {
    for (const { options, skew } of this.#hadoop) {
      if (Math.abs(skew) > SKEW_WARNING_MS) {
        const facts = { service: options.name, skewMs: skew };
        this.#services.log("warn", "the service's clock differs from ours", facts);
      }
    }
  }
}

/** What one call's work on its services shares. */
interface Turn {
  readonly sessions: Sessions;
  /** The call's own, and the limit for its services. */
  readonly signal: AbortSignal;
  countRequest(): void;
}

const tooLong = (service: string): EvergrantError =>
  new EvergrantError("ISSUER_TIMEOUT", `service ${service} did not answer in time`);

/** The factory over given tools. */
export function hadoopProviderWith(
  tools: (options: HadoopOptions, services: ProviderServices) => HadoopTools,
): CredentialProviderFactory<HadoopOptions> {
  return {
    kind: "hadoop",
    options: hadoopOptionsSchema,
    create: (options, services) => new HadoopProvider(options, services, tools(options, services)),
  };
}

export const hadoopProvider: CredentialProviderFactory<HadoopOptions> = hadoopProviderWith(
  (options, { clock, log }) => ({
    http,
    resolve: resolveHost,
    openLogin: (login, folder) => new Login(login, { clock, folder, kinit: options.kinit, log }),
    openNegotiator,
  }),
);
