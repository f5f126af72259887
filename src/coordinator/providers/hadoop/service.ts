/**
 * One service with all of its nodes: gets, renews and cancels its token, moving on to the next node
 * where the answer says so. Owns the signing of requests and the last good node; refuses to know
 * other services and when anything is due.
 */
import { readFile } from "node:fs/promises";
import { EvergrantError } from "../../../protocol/errors.ts";
import { decodeIdentifier } from "../../../protocol/hadoop/identifier.ts";
import type { HadoopToken } from "../../../protocol/hadoop/token.ts";
import {
  type Clock,
  type DurationMs,
  durationMs,
  type EpochMs,
  epochMs,
} from "../../../protocol/time.ts";
import type { Grant } from "./grants.ts";
import type { Http, HttpAnswer } from "./http.ts";
import { labelled, type Resolve } from "./labels.ts";
import type { Negotiator } from "./negotiator.ts";
import type { ServiceOptions } from "./options.ts";
import { skewOf } from "./plan.ts";
import { judgeRefusal } from "./remote-errors.ts";
import { type ApiRequest, addressOf, TOKEN_APIS, type TokenApi } from "./token-api.ts";

export interface CallContext {
  readonly negotiator: Negotiator;
  readonly signal: AbortSignal;
  countRequest(): void;
}

export interface ServiceTools {
  readonly clock: Clock;
  readonly http: Http;
  readonly resolve: Resolve;
  readonly requestTimeout: DurationMs;
}

/** Whether an error says that the token is no longer known to its issuer. */
export const isDeadToken = (error: unknown): boolean =>
  error instanceof EvergrantError && error.details["deadToken"] === true;

export class HadoopService {
  readonly options: ServiceOptions;
  readonly #tools: ServiceTools;
  readonly #api: TokenApi;
  #lastGood = 0;
  #skew = durationMs(0);
  #interval: DurationMs | undefined;

  constructor(options: ServiceOptions, tools: ServiceTools) {
    this.options = options;
    this.#tools = tools;
    this.#api = TOKEN_APIS[options.kind];
  }

  /** The service's clock less ours, as of its last answer; 0 before the first. */
  get skew(): DurationMs {
    return this.#skew;
  }

  /** Whether its tokens name us as the renewer. */
  get renewable(): boolean {
    return this.options.renewer === this.options.shortName;
  }

  /** A new token and its exact end. */
  async issue(call: CallContext): Promise<Grant> {
    const { token, expiresAt } = await this.#get(call, this.options.renewer);
    const end = expiresAt ?? (await this.#learnEnd(call, token));
    return {
      source: this.options.name,
      token,
      labelled: await labelled(this.options, token, this.#tools.resolve),
      renewedAt: this.#now(),
      expiresAt: this.#ours(end),
    };
  }

  /** The same token with a later end. The error of a token that is gone answers to `isDeadToken`. */
  async renew(call: CallContext, grant: Grant): Promise<Grant> {
    const end = await this.#renew(call, grant.token);
    return { ...grant, renewedAt: this.#now(), expiresAt: this.#ours(end) };
  }

  /** Resolves also when the token was gone already. */
  async cancel(call: CallContext, token: HadoopToken): Promise<void> {
    try {
      await this.#send(call, this.#api.cancel(token), this.#api.gone.cancel);
    } catch (error) {
      if (!isDeadToken(error)) throw error;
    }
  }

  #now(): EpochMs {
    return this.#tools.clock.now().wall;
  }

  #ours(theirs: EpochMs): EpochMs {
    return epochMs(theirs - this.#skew);
  }

  async #get(call: CallContext, renewer: string) {
    const request = this.#api.issue({ renewer, doAs: this.options.doAs });
    return this.#api.readIssued(await this.#send(call, request));
  }

  async #renew(call: CallContext, token: HadoopToken): Promise<EpochMs> {
    const request = this.#api.renew(token);
    return this.#api.readRenewed(await this.#send(call, request, this.#api.gone.renew));
  }

  /** The end is in no answer to a GET: only a renewal tells it. */
  async #learnEnd(call: CallContext, token: HadoopToken): Promise<EpochMs> {
    if (this.renewable) {
      try {
        return await this.#renew(call, token);
      } catch (error) {
        // It can't be used without its end, so it is not left behind alive.
        await this.cancel(call, token).catch(() => undefined);
        throw this.#explained(error);
      }
    }
    const { issueDate, maxDate } = decodeIdentifier(token.identifier);
    this.#interval ??= await this.#learnInterval(call);
    return epochMs(Math.min(Number(maxDate), Number(issueDate) + this.#interval));
  }

  /** Another renewer was asked for: a token of our own that lives for a moment shows the interval. */
  async #learnInterval(call: CallContext): Promise<DurationMs> {
    const { token } = await this.#get(call, this.options.shortName);
    const end = await this.#renew(call, token).catch((error: unknown) => {
      throw this.#explained(error);
    });
    await this.cancel(call, token);
    return durationMs(end - Number(decodeIdentifier(token.identifier).issueDate));
  }

  /** A renewal that is denied has one usual reason, which the operator should read. */
  #explained(error: unknown): unknown {
    if (!(error instanceof EvergrantError) || error.code !== "ISSUER_DENIED") return error;
    const { name, shortName } = this.options;
    const message = `service ${name} does not let us renew as "${shortName}": set shortName to what its auth_to_local makes of the principal`;
    return new EvergrantError("ISSUER_DENIED", message, { cause: error, details: error.details });
  }

  /** Asks the nodes in turn, from the one that was good last. Every request is counted. */
  async #send(call: CallContext, request: ApiRequest, gone?: number): Promise<HttpAnswer> {
    const { urls } = this.options;
    let failed: unknown;
    for (let at = 0; at < urls.length; at += 1) {
      const index = (this.#lastGood + at) % urls.length;
      const node = urls[index];
      if (node === undefined) continue;
      try {
        const answer = await this.#ask(call, node, request, gone);
        this.#lastGood = index;
        return answer;
      } catch (error) {
        failed = error;
        if (!isElsewhere(error) || call.signal.aborted) break;
      }
    }
    throw failed ?? new EvergrantError("INTERNAL", "a service without nodes");
  }

  async #ask(
    call: CallContext,
    node: URL,
    request: ApiRequest,
    gone: number | undefined,
  ): Promise<HttpAnswer> {
    const { clock, http, requestTimeout } = this.#tools;
    if (call.signal.aborted) throw new EvergrantError("ISSUER_TIMEOUT", "the call's time is over");
    const { servicePrincipal, caFile, name } = this.options;
    const negotiate = await call.negotiator.token(servicePrincipal ?? `HTTP@${node.hostname}`);
    const ca = caFile === undefined ? undefined : await readCertificates(caFile);
    const limit = new AbortController();
    const cancel = clock.timer(requestTimeout, () => limit.abort());
    call.countRequest();
    try {
      const answer = await http({
        method: request.method,
        url: addressOf(node, request),
        headers: { ...request.headers, authorization: `Negotiate ${negotiate}` },
        ...(request.body === undefined ? {} : { body: request.body }),
        ca,
        signal: AbortSignal.any([limit.signal, call.signal]),
      });
      if (answer.date !== undefined) this.#skew = skewOf(answer.date, clock.now().wall);
      if (answer.status !== 200) throw refusal(answer, name, node, gone);
      return answer;
    } finally {
      cancel();
    }
  }
}

/** An answer that points elsewhere, or none at all. */
function isElsewhere(error: unknown): boolean {
  if (!(error instanceof EvergrantError)) return false;
  if (error.code === "ISSUER_TIMEOUT") return true;
  return error.details["elsewhere"] === true || error.details["systemCode"] !== undefined;
}

function refusal(
  answer: HttpAnswer,
  service: string,
  node: URL,
  gone: number | undefined,
): EvergrantError {
  const { code, elsewhere, exception, ...judged } = judgeRefusal(answer);
  const dead = judged.dead || answer.status === gone;
  const what = exception === undefined ? `${answer.status}` : `${answer.status} ${exception}`;
  return new EvergrantError(code, `service ${service} at ${node.host} answered ${what}`, {
    details: {
      service,
      httpStatus: answer.status,
      ...(exception === undefined ? {} : { issuerCode: exception }),
      ...(elsewhere ? { elsewhere } : {}),
      ...(dead ? { deadToken: true } : {}),
    },
  });
}

async function readCertificates(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new EvergrantError("PROVIDER_INPUT_MISSING", `${path} can't be read`, { cause });
  }
}
