/**
 * An emulated issuer on a port of its own, around the service that it emulates. Owns the order in which
 * one call is treated: count, `onCall`, latency, hang, garbage, the service itself, dropped answer.
 * Knows no protocol; the other faults are the service's, because their answers are.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { z } from "zod";
import { type Clock, durationMs, type EpochMs, later, type Random } from "../../protocol/time.ts";
import { ADMIN_PREFIX, answerAdmin } from "./admin.ts";
import { type Answer, listen, type ReceivedRequest, receive, send, Waits } from "./exchange.ts";
import type { Counters, Ledger } from "./ledger.ts";

/** Called when a call has come in and before anything is done about it; the answer waits for it. */
export type OnCall<Call> = (call: Call) => void | Promise<void>;

export interface EmulatorOptions<Call, Knobs> {
  readonly clock: Clock;
  readonly random: Random;
  /** Default 0: a free port. */
  readonly port?: number | undefined;
  /** Default 127.0.0.1. */
  readonly host?: string | undefined;
  readonly knobs?: Partial<Knobs> | undefined;
  readonly onCall?: OnCall<Call> | undefined;
}

export interface Emulator<Call, Knobs, Issued> {
  /** `http://host:port`, for the endpoint settings of a client. */
  readonly url: string;
  /** Assign fields to switch faults on and off. */
  readonly knobs: Knobs;
  /** A copy of the counts at this moment. */
  readonly counters: Counters<Issued>;
  /** May be replaced at any time. */
  onCall: OnCall<Call> | undefined;
  /** Calls of one operation (default all), with one outcome (default any). */
  count(operation?: string, outcome?: string): number;
  /** Resolves once so many calls have ended since the start; a hung call has ended, too. */
  callsEnded(count: number): Promise<void>;
  /** The emulator's own, skewed wall clock. */
  now(): EpochMs;
  /** Closes the port and every connection, hung ones included. */
  stop(): Promise<void>;
}

export interface Treated {
  readonly answer: Answer;
  /** `ok` or an error code. */
  readonly outcome: string;
}

/** One call that has come in, as the service reads it. */
export interface Arrived<Call> {
  readonly call: Call;
  /** What it is counted under. */
  readonly operation: string;
  /** Whether the knob `latencyMs` is for calls like this. */
  readonly delayed: boolean;
  readonly treat: (now: EpochMs) => Promise<Treated>;
}

/** What an emulated service is, apart from the port that it is on. */
export interface Service<Call, Knobs, Issued> {
  readonly knobs: Knobs;
  readonly wireKnobs: z.ZodType<object>;
  readonly ledger: Ledger<Issued>;
  /** Bytes; a larger body is refused, and not counted as a call. */
  readonly largestBody: number;
  tooLarge(): Answer;
  /** The form of the admin path's answers. */
  json(status: number, value: object): Answer;
  /** `sequence` is 1 for the first call since the start. */
  arrive(request: ReceivedRequest, sequence: number): Arrived<Call>;
  /** Whether a fault that knows no protocol strikes this call; counts it down. */
  strikes(name: "hang" | "garbage" | "dropAnswer", call: Call): boolean;
}

/** What a captive portal answers with. */
const GARBAGE: Answer = {
  status: 200,
  headers: { "content-type": "text/html" },
  body: "<html><head><title>Welcome</title></head><body><p>Sign in to the network</body></html>\n",
};

/** @throws EvergrantError SERVER_START_FAILED where the port can't be had. */
export async function startEmulator<
  Call,
  Knobs extends { readonly latencyMs: number; readonly clockSkewMs: number },
  Issued,
>(
  options: EmulatorOptions<Call, Knobs>,
  service: Service<Call, Knobs, Issued>,
): Promise<Emulator<Call, Knobs, Issued>> {
  const { clock } = options;
  const { knobs, wireKnobs, ledger } = service;
  const waits = new Waits(clock);
  const now = (): EpochMs => later(clock.now().wall, durationMs(knobs.clockSkewMs));

  const exchange = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const request = await receive(incoming, service.largestBody);
    if (request === "too-large") return send(response, service.tooLarge(), now());
    if (request.path.startsWith(ADMIN_PREFIX)) {
      const target = { knobs, wireKnobs, counters: ledger.snapshot() };
      return send(response, service.json(...answerAdmin(request, target, clock.now())), now());
    }
    const { call, operation, delayed, treat } = service.arrive(request, ledger.arrive());
    await emulator.onCall?.(call);
    if (delayed) await waits.wait(durationMs(knobs.latencyMs));
    if (service.strikes("hang", call)) return ledger.end(operation, "hang");
    if (service.strikes("garbage", call)) {
      send(response, GARBAGE, now());
      return ledger.end(operation, "garbage");
    }
    const { answer, outcome } = await treat(now());
    const dropped = service.strikes("dropAnswer", call);
    if (dropped) response.destroy();
    else send(response, answer, now());
    ledger.end(operation, dropped ? "dropped" : outcome);
  };

  const listening = await listen(options.host ?? "127.0.0.1", options.port ?? 0, exchange);
  const emulator: Emulator<Call, Knobs, Issued> = {
    url: listening.url,
    knobs,
    get counters() {
      return ledger.snapshot();
    },
    onCall: options.onCall,
    count: (operation, outcome) => ledger.count(operation, outcome),
    callsEnded: (count) => ledger.reached(count),
    now,
    async stop() {
      waits.stop();
      await listening.stop();
    },
  };
  return emulator;
}
