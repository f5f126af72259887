/**
 * A small HTTP server that answers one path with the credential that it holds: the common part of
 * `aws-container` and `aws-process`. Owns the states EMPTY, HELD and EXPIRED on the wire, and the
 * proof that a consumer would now get a new credential (it asks itself). Refuses to know who may ask
 * (`judgeCaller`) and what a body says.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { ListenOptions } from "node:net";
import { EvergrantError } from "../../protocol/errors.ts";
import type { Clock, DurationMs, MonoMs, Random } from "../../protocol/time.ts";
import type { ConsumerRequest } from "../ports/credential-receiver.ts";
import { clientFamily } from "./client-family.ts";
import { HeldCredential } from "./held-credential.ts";
import {
  EMPTY,
  EXPIRED,
  NOT_FOUND,
  type Refusal,
  type RequestOutcome,
  sendBody,
  sendMalformed,
  sendRefusal,
  WRONG_METHOD,
} from "./http-answers.ts";
import { HttpListeners } from "./http-listeners.ts";
import { askOnce, ProbeMark, type ProbeTarget } from "./probe.ts";

export interface EndpointSettings {
  /** The only path that is answered; the query is ignored. */
  readonly path: string;
  /** How long a request waits for the first credential, 0 for not at all. */
  readonly hold: DurationMs;
  /** Judges by which name the endpoint was asked, before path and method are looked at. */
  readonly judgeHost?: (request: IncomingMessage) => Refusal | undefined;
  /** Judges who asks, after that. */
  readonly judgeCaller?: (request: IncomingMessage) => Refusal | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly observe: ((request: ConsumerRequest) => void) | undefined;
}

export class CredentialEndpoint {
  readonly #settings: EndpointSettings;
  readonly #held: HeldCredential<Buffer>;
  readonly #mark: ProbeMark;
  readonly #listeners: HttpListeners;

  constructor(settings: EndpointSettings) {
    this.#settings = settings;
    this.#held = new HeldCredential(settings.clock);
    this.#mark = new ProbeMark(settings.random);
    this.#listeners = new HttpListeners({
      answer: (request, response) => this.#answer(request, response),
      malformed: (socket) => {
        this.#count("malformed", undefined);
        sendMalformed(socket);
      },
      clock: settings.clock,
    });
  }

  /** Listens there, besides what it listens to already. Rejects with the system's error. */
  listen(where: ListenOptions): Promise<Server> {
    return this.#listeners.listen(where);
  }

  /**
   * Serves `body` until `until`, and resolves once each target has answered with it.
   *
   * @throws EvergrantError `RECEIVER_FAILED` when one does not; the former body is then served again.
   */
  async serve(body: Buffer, until: MonoMs, targets: readonly ProbeTarget[]): Promise<void> {
    if (this.#settings.clock.now().mono >= until) {
      throw new EvergrantError("RECEIVER_FAILED", "the credential has ended before it was applied");
    }
    const held = { value: body, until };
    const former = this.#held.put(held);
    try {
      for (const target of targets) await this.#prove(body, target);
    } catch (error) {
      this.#held.putBack(held, former);
      throw error;
    }
  }

  /** Answers 503 from now on. */
  clear(): void {
    this.#held.clear();
  }

  /** Closes all sockets, also those of requests that wait. */
  async close(): Promise<void> {
    this.#held.clear();
    await this.#listeners.close();
  }

  async #prove(body: Buffer, target: ProbeTarget): Promise<void> {
    const { clock, path } = this.#settings;
    const headers = { ...target.headers, ...this.#mark.headers() };
    const reply = await askOnce({ ...target, headers }, path, clock);
    if (reply.status === 200 && reply.body.equals(body)) return;
    throw new EvergrantError(
      "RECEIVER_FAILED",
      `the endpoint does not answer with the new credential (HTTP ${reply.status})`,
      { details: { httpStatus: reply.status } },
    );
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { judgeHost, judgeCaller } = this.#settings;
    const refusal = judgeHost?.(request) ?? this.#misdirected(request) ?? judgeCaller?.(request);
    if (refusal !== undefined) return this.#refuse(request, response, refusal);
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const reading = await this.#held.readSoon(this.#settings.hold, gone.signal);
    if (gone.signal.aborted) return this.#count("abandoned", request);
    if (reading.state !== "held") {
      return this.#refuse(request, response, reading.state === "empty" ? EMPTY : EXPIRED);
    }
    sendBody(response, reading.value);
    this.#count(this.#mark.isOn(request) ? "probe" : "served", request, reading.remaining);
  }

  #misdirected(request: IncomingMessage): Refusal | undefined {
    if ((request.url ?? "").split("?", 1)[0] !== this.#settings.path) return NOT_FOUND;
    return request.method === "GET" ? undefined : WRONG_METHOD;
  }

  #refuse(request: IncomingMessage, response: ServerResponse, refusal: Refusal): void {
    sendRefusal(response, refusal);
    this.#count(refusal.outcome, request);
  }

  #count(outcome: RequestOutcome, request: IncomingMessage | undefined, life?: DurationMs): void {
    this.#settings.observe?.({
      outcome,
      client: request === undefined ? "other" : clientFamily(request.headers["user-agent"]),
      ...(life === undefined ? {} : { remaining: life }),
    });
  }
}
