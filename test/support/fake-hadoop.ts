/**
 * A Hadoop service's token manager behind its REST interface, without sockets: what the servers
 * answer, from their sources (shared reference, sections 5 and 6). Counts what it is asked.
 */
import type { Http, HttpAnswer, HttpCall } from "../../src/coordinator/providers/hadoop/http.ts";
import { EvergrantError } from "../../src/protocol/errors.ts";
import { encodeIdentifier, encodeYarnIdentifier } from "../../src/protocol/hadoop/identifier.ts";
import { tokenFromUrlString, tokenToUrlString } from "../../src/protocol/hadoop/token.ts";
import { Secret } from "../../src/protocol/secret.ts";
import { type Clock, epochMs } from "../../src/protocol/time.ts";

/** What a node does when it is asked. */
export type NodeMood =
  | "active"
  | "standby"
  | "safe-mode"
  | "away"
  | "html"
  | "no-tokens"
  | "unauthorized"
  | "spnego-refused"
  | "denied"
  | "throttled"
  | "server-error"
  | "broken";

export interface FakeServiceOptions {
  readonly kind: "webhdfs" | "httpfs" | "kms" | "yarn";
  /** Hosts with ports, as in the URLs. */
  readonly hosts: readonly string[];
  readonly renewIntervalMs?: number;
  readonly maxLifetimeMs?: number;
  /** What auth_to_local makes of the caller. */
  readonly caller?: string;
  readonly skewMs?: number;
}

interface Live {
  readonly renewer: string;
  readonly maxDate: number;
  expiresAt: number;
}

export class FakeService {
  readonly asked: Record<"get" | "renew" | "cancel", number> = { get: 0, renew: 0, cancel: 0 };
  readonly moods = new Map<string, NodeMood>();
  readonly options: FakeServiceOptions;
  readonly #clock: Pick<Clock, "now">;
  readonly #live = new Map<string, Live>();
  #sequence = 0;
  #hangs = false;
  #tellHung = (): void => undefined;
  readonly #hung = new Promise<void>((resolve) => {
    this.#tellHung = resolve;
  });
  caller: string;

  constructor(clock: Pick<Clock, "now">, options: FakeServiceOptions) {
    this.#clock = clock;
    this.options = options;
    this.caller = options.caller ?? "etl";
  }

  get now(): number {
    return this.#clock.now().wall + (this.options.skewMs ?? 0);
  }

  /** Tokens that it would still accept. */
  get living(): number {
    return [...this.#live.values()].filter(({ expiresAt }) => expiresAt > this.now).length;
  }

  /** From now on no request is answered. */
  hang(): void {
    this.#hangs = true;
  }

  /** Resolves once a request is in hand that is never answered. */
  hanging(): Promise<void> {
    return this.#hung;
  }

  /** Never answers; rejects when the call is given up. */
  async held(call: HttpCall): Promise<void> {
    if (!this.#hangs) return;
    this.#tellHung();
    await new Promise((_, reject) => {
      const end = (): void => reject(new EvergrantError("ISSUER_TIMEOUT", "no answer in time"));
      if (call.signal.aborted) end();
      else call.signal.addEventListener("abort", end);
    });
  }

  /** A restart without its edit log. */
  forget(): void {
    this.#live.clear();
  }

  answer(call: HttpCall): HttpAnswer {
    const mood = this.moods.get(call.url.host) ?? "active";
    if (call.headers["authorization"] === undefined) return this.#page(401);
    switch (mood) {
      case "standby":
        return this.#refuse(403, "StandbyException");
      case "safe-mode":
        return this.#refuse(403, "SafeModeException");
      case "away":
        throw new EvergrantError("ISSUER_UNAVAILABLE", "away", {
          details: { systemCode: "ECONNREFUSED" },
        });
      case "html":
        return this.#page(200);
      case "unauthorized":
        return this.#page(401);
      case "spnego-refused":
        return this.#page(403);
      case "denied":
        return this.#refuse(403, "AuthorizationException");
      case "throttled":
        return this.#refuse(503, "ServerTooBusyException");
      case "server-error":
        return this.#page(500);
      case "broken":
        return this.#json(200, { Token: { urlString: "AAAA" } });
      case "no-tokens":
        return this.#json(200, { Token: null });
      default:
        return this.options.kind === "yarn" ? this.#yarn(call) : this.#operation(call);
    }
  }

  #operation({ url, method }: HttpCall): HttpAnswer {
    const query = url.searchParams;
    switch (`${method} ${query.get("op")}`) {
      case "GET GETDELEGATIONTOKEN": {
        const doAs = query.get(this.options.kind === "webhdfs" ? "doas" : "doAs");
        const urlString = this.#issue(query.get("renewer") ?? "", doAs);
        return this.#json(200, { Token: { urlString } });
      }
      case "PUT RENEWDELEGATIONTOKEN":
        return this.#renew(query.get("token") ?? "", (long) => this.#json(200, { long }));
      case "PUT CANCELDELEGATIONTOKEN":
        return this.#cancel(query.get("token") ?? "");
      default:
        return this.#refuse(400, "IllegalArgumentException");
    }
  }

  #yarn(call: HttpCall): HttpAnswer {
    const token = call.headers["Hadoop-YARN-RM-Delegation-Token"] ?? "";
    if (call.method === "DELETE") return this.#cancel(token);
    if (call.url.pathname.endsWith("/expiration")) {
      return this.#renew(token, (end) => this.#json(200, { "expiration-time": end }));
    }
    const { renewer } = JSON.parse(call.body ?? "{}") as { renewer: string };
    const issued = this.#issue(renewer, null);
    const expiry = this.#live.get(keyOf(issued))?.expiresAt;
    return this.#json(200, { token: issued, "expiration-time": expiry });
  }

  #issue(renewer: string, doAs: string | null): string {
    this.asked.get += 1;
    this.#sequence += 1;
    const maxDate = this.now + (this.options.maxLifetimeMs ?? 60_000);
    const fields = {
      owner: doAs ?? this.caller,
      renewer,
      realUser: doAs === null ? "" : this.caller,
      issueDate: BigInt(this.now),
      maxDate: BigInt(maxDate),
      sequenceNumber: this.#sequence,
      // Managers share no keys: their tokens never look alike.
      masterKeyId: Buffer.from(this.options.hosts.join()).reduce((sum, byte) => sum + byte),
    };
    const yarn = this.options.kind === "yarn";
    const kinds = { webhdfs: "WEBHDFS delegation", httpfs: "WEBHDFS delegation", kms: "kms-dt" };
    const urlString = tokenToUrlString({
      identifier: yarn ? encodeYarnIdentifier(fields) : encodeIdentifier(fields),
      password: new Secret(Uint8Array.from({ length: 20 }, (_, at) => this.#sequence + at)),
      kind: this.options.kind === "yarn" ? "RM_DELEGATION_TOKEN" : kinds[this.options.kind],
      service: this.options.kind === "webhdfs" ? "127.0.0.1:8020" : "",
    });
    const expiresAt = Math.min(maxDate, this.now + (this.options.renewIntervalMs ?? 20_000));
    this.#live.set(keyOf(urlString), { renewer, maxDate, expiresAt });
    return urlString;
  }

  #renew(urlString: string, answer: (end: number) => HttpAnswer): HttpAnswer {
    this.asked.renew += 1;
    const live = this.#live.get(keyOf(urlString));
    if (live === undefined || live.expiresAt < this.now) return this.#gone("renew");
    if (live.renewer !== this.caller) return this.#refuse(403, "AccessControlException");
    live.expiresAt = Math.min(live.maxDate, this.now + (this.options.renewIntervalMs ?? 20_000));
    return answer(live.expiresAt);
  }

  #cancel(urlString: string): HttpAnswer {
    this.asked.cancel += 1;
    return this.#live.delete(keyOf(urlString))
      ? {
          status: 200,
          reason: "OK",
          contentType: "application/octet-stream",
          body: "",
          date: this.#date(),
        }
      : this.#gone("cancel");
  }

  /** Each says it in its own way: measured on the real servers. */
  #gone(operation: "renew" | "cancel"): HttpAnswer {
    const { kind } = this.options;
    if (kind === "webhdfs") return this.#refuse(403, "InvalidToken");
    if (kind === "yarn") return this.#refuse(400, "BadRequestException");
    return operation === "cancel"
      ? this.#bare(404, "Invalid delegation token, cannot cancel")
      : this.#bare(
          403,
          "org.apache.hadoop.security.token.SecretManager$InvalidToken: Renewal request",
        );
  }

  #bare(status: number, reason: string): HttpAnswer {
    return { status, reason, contentType: "", body: "", date: this.#date() };
  }

  #json(status: number, body: unknown): HttpAnswer {
    const contentType = "application/json";
    return { status, reason: "", contentType, body: JSON.stringify(body), date: this.#date() };
  }

  #refuse(status: number, exception: string): HttpAnswer {
    const javaClassName = `org.apache.hadoop.${exception}`;
    return this.#json(status, { RemoteException: { exception, javaClassName, message: "no" } });
  }

  #page(status: number): HttpAnswer {
    return {
      status,
      reason: "Some Reason",
      contentType: "text/html",
      body: "<html></html>",
      date: this.#date(),
    };
  }

  #date() {
    return epochMs(Math.floor(this.now / 1000) * 1000);
  }
}

/** Labels play no part, as at the real servers. */
function keyOf(urlString: string): string {
  return Buffer.from(tokenFromUrlString(urlString).identifier).toString("hex");
}

/** Sends each call to the service that has the host. */
export function httpOf(services: readonly FakeService[]): Http {
  return async (call) => {
    const service = services.find(({ options }) => options.hosts.includes(call.url.host));
    if (service === undefined) throw new Error(`no fake at ${call.url.host}`);
    await service.held(call);
    return service.answer(call);
  };
}
