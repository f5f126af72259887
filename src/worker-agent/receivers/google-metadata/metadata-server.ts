/**
 * The HTTP server of `google-metadata`. Owns the states EMPTY, HELD and EXPIRED on the wire, the
 * headers that clients take for the mark of a metadata server, `expires_in` at the moment of the
 * answer, and the proof that a consumer would now get a new token. What there is at which path is
 * metadata-tree.ts.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { ListenOptions } from "node:net";
import { EvergrantError } from "../../../protocol/errors.ts";
import type { Secret } from "../../../protocol/secret.ts";
import type { Clock, DurationMs, MonoMs, Random } from "../../../protocol/time.ts";
import type { ConsumerRequest } from "../../ports/credential-receiver.ts";
import { HeldCredential } from "../held-credential.ts";
import { endMalformed, HttpListeners } from "../http-listeners.ts";
import { askOnce, ProbeMark } from "../probe.ts";
import { googleClientFamily } from "./client-family.ts";
import { judgeCaller } from "./judge-caller.ts";
import { answerAt, type MetadataFacts, needsCredential } from "./metadata-tree.ts";

const TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token";

/** What came of a request, for metrics. `metadata`: everything but a token. */
type Outcome =
  | "served"
  | "metadata"
  | "empty"
  | "expired"
  | "wrong-host"
  | "forwarded"
  | "no-flavor"
  | "wrong-method"
  | "not-found"
  | "malformed"
  | "abandoned"
  | "probe";

export interface HeldToken {
  readonly accessToken: Secret<string>;
  readonly facts: MetadataFacts;
}

export interface MetadataServerSettings {
  /** How long a request waits for the first token, 0 for not at all. */
  readonly hold: DurationMs;
  /** Told until the first credential, and of paths that need none. */
  readonly facts: MetadataFacts;
  readonly clock: Clock;
  readonly random: Random;
  readonly observe: ((request: ConsumerRequest) => void) | undefined;
}

export class MetadataServer {
  readonly #settings: MetadataServerSettings;
  readonly #held: HeldCredential<HeldToken>;
  readonly #mark: ProbeMark;
  readonly #listeners: HttpListeners;
  #facts: MetadataFacts;

  constructor(settings: MetadataServerSettings) {
    this.#settings = settings;
    this.#held = new HeldCredential(settings.clock);
    this.#facts = settings.facts;
    this.#mark = new ProbeMark(settings.random);
    this.#listeners = new HttpListeners({
      answer: (request, response) => this.#answer(request, response),
      malformed: (socket) => {
        this.#count("malformed", undefined);
        endMalformed(socket, { ...MARKS, "Content-Length": 0 }, "");
      },
      clock: settings.clock,
    });
  }

  /** Listens there. Rejects with the system's error. */
  listen(where: ListenOptions): Promise<Server> {
    return this.#listeners.listen(where);
  }

  /**
   * Serves this token until `until`, and resolves once the endpoint has answered with it.
   *
   * @throws EvergrantError `RECEIVER_FAILED` when it does not; the former one is then served again.
   */
  async serve(token: HeldToken, until: MonoMs, port: number): Promise<void> {
    const held = { value: token, until };
    const former = this.#held.put(held);
    const formerFacts = this.#facts;
    this.#facts = token.facts;
    try {
      await this.#prove(token.accessToken, port);
    } catch (error) {
      this.#held.putBack(held, former);
      this.#facts = formerFacts;
      throw error;
    }
  }

  /** Answers requests for tokens with 503 from now on. */
  clear(): void {
    this.#held.clear();
  }

  /** Closes all sockets, also those of requests that wait. */
  async close(): Promise<void> {
    this.#held.clear();
    await this.#listeners.close();
  }

  async #prove(token: Secret<string>, port: number): Promise<void> {
    const headers = { "metadata-flavor": "Google", ...this.#mark.headers() };
    const target = { host: "127.0.0.1", port, headers };
    const { status, body } = await askOnce(target, TOKEN_PATH, this.#settings.clock);
    if (status === 200 && body.includes(JSON.stringify(token.reveal()))) return;
    const message = `the endpoint does not answer with the new token (HTTP ${status})`;
    throw new EvergrantError("RECEIVER_FAILED", message, { details: { httpStatus: status } });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refusal = judgeCaller(request);
    if (refusal !== undefined) {
      send(response, refusal.status, "text/plain", `${refusal.message}\n`);
      return this.#count(refusal.outcome, request);
    }
    const [path = "/", search = ""] = (request.url ?? "/").split("?", 2);
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    // Who the account is comes with the first credential; after that it is told also without one.
    if (needsCredential(path)) await this.#held.readSoon(this.#settings.hold, gone.signal);
    if (gone.signal.aborted) return this.#count("abandoned", request);
    const answer = answerAt(path, new URLSearchParams(search), this.#facts);
    switch (answer.kind) {
      case "token":
        return this.#sendToken(request, response);
      case "redirect":
        response.setHeader("Location", answer.location);
        send(response, 301, "text/plain", "");
        return this.#count("metadata", request);
      case "not-found":
        send(response, 404, "text/plain", `${answer.why}\n`);
        return this.#count("not-found", request);
      default:
        if (needsCredential(path) && this.#held.read().state === "empty") {
          return this.#sendNotReady(request, response, "empty");
        }
        send(response, 200, answer.kind === "json" ? JSON_TYPE : "text/plain", answer.body);
        return this.#count("metadata", request);
    }
  }

  #sendToken(request: IncomingMessage, response: ServerResponse): void {
    const reading = this.#held.read();
    if (reading.state !== "held") {
      this.#sendNotReady(request, response, reading.state === "empty" ? "empty" : "expired");
      return;
    }
    const body = {
      access_token: reading.value.accessToken.reveal(),
      expires_in: Math.floor(reading.remaining / 1000),
      token_type: "Bearer",
    };
    send(response, 200, JSON_TYPE, JSON.stringify(body));
    this.#count(this.#mark.isOn(request) ? "probe" : "served", request, reading.remaining);
  }

  #sendNotReady(
    request: IncomingMessage,
    response: ServerResponse,
    outcome: "empty" | "expired",
  ): void {
    const why =
      outcome === "empty"
        ? "The agent has not received its first token yet."
        : "The token has ended and no newer one has arrived.";
    send(response, 503, "text/plain", `${why}\n`);
    this.#count(outcome, request);
  }

  #count(outcome: Outcome, request: IncomingMessage | undefined, life?: DurationMs): void {
    this.#settings.observe?.({
      outcome,
      client: request === undefined ? "other" : googleClientFamily(request.headers),
      ...(life === undefined ? {} : { remaining: life }),
    });
  }
}

/** Python refuses a token under any other type. */
const JSON_TYPE = "application/json";

/** On every answer, refusals too: clients take a server without them for another one. */
const MARKS = {
  "Metadata-Flavor": "Google",
  Server: "Metadata Server for VM",
  "Cache-Control": "no-store",
} as const;

function send(response: ServerResponse, status: number, type: string, body: string): void {
  if (status === 405) response.setHeader("Allow", "GET");
  const length = Buffer.byteLength(body);
  response.writeHead(status, { ...MARKS, "Content-Type": type, "Content-Length": length });
  response.end(body);
}
