/**
 * An emulator of what a job needs of Google Cloud, on one port: token exchange and downscoping of STS,
 * generateAccessToken of IAM Credentials, tokeninfo, and Cloud Storage as a resource that takes only
 * live tokens within their boundary. Owns the order in which one call is treated: count, `onCall`,
 * latency (issuers), hang, garbage, 5xx, throttling, deny, refuse, the operation. For tests and demos.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Clock, durationMs, type EpochMs, later, type Random } from "../../protocol/time.ts";
import { listen, receive, send, Waits } from "../aws-sts/exchange.ts";
import { ADMIN_PREFIX, answerAdmin } from "./admin.ts";
import { apiError, GARBAGE } from "./answers.ts";
import type { PoolProvider } from "./assertion.ts";
import type { GoogleWorld, ServiceAccount } from "./issuing.ts";
import { defaultKnobs, type GoogleCall, type GoogleKnobs, strikes } from "./knobs.ts";
import { type GoogleCounters, Ledger } from "./ledger.ts";
import { Storage } from "./storage.ts";
import { Tokens } from "./tokens.ts";
import { callOf, treat } from "./treatment.ts";

const LARGEST_BODY = 16 * 1024 * 1024;

/** Called when a call has come in and before anything is done about it; the answer waits for it. */
export type OnCall = (call: GoogleCall) => void | Promise<void>;

export interface GoogleEmulatorOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Default 0: a free port. */
  readonly port?: number | undefined;
  /** Default 127.0.0.1. */
  readonly host?: string | undefined;
  readonly knobs?: Partial<GoogleKnobs> | undefined;
  /** Read anew for each call. Default none: every assertion is refused. */
  readonly poolProviders?: readonly PoolProvider[] | undefined;
  /** Default: every account exists, and everybody may impersonate it, for an hour at most. */
  readonly serviceAccounts?: readonly ServiceAccount[] | undefined;
  readonly onCall?: OnCall | undefined;
}

export interface GoogleEmulator {
  /** `http://host:port`, for the endpoint settings of a client. */
  readonly url: string;
  /** Assign fields to switch faults on and off. */
  readonly knobs: GoogleKnobs;
  /** A copy of the counts at this moment. */
  readonly counters: GoogleCounters;
  /** May be replaced at any time. */
  onCall: OnCall | undefined;
  /** Calls of one operation (default all), with one outcome (default any). */
  count(operation?: string, outcome?: string): number;
  /** Resolves once so many calls have ended since the start; a hung call has ended, too. */
  callsEnded(count: number): Promise<void>;
  /** The emulator's own, skewed wall clock. */
  now(): EpochMs;
  /** Closes the port and every connection, hung ones included. */
  stop(): Promise<void>;
}

/** @throws EvergrantError SERVER_START_FAILED where the port can't be had. */
export async function startGoogleEmulator(options: GoogleEmulatorOptions): Promise<GoogleEmulator> {
  const { clock, random } = options;
  const ledger = new Ledger();
  const knobs: GoogleKnobs = { ...defaultKnobs(), ...options.knobs };
  const storage = new Storage();
  const world: GoogleWorld = {
    tokens: new Tokens(random),
    ledger,
    knobs,
    poolProviders: options.poolProviders ?? [],
    serviceAccounts: options.serviceAccounts,
  };
  const waits = new Waits(clock);
  const now = (): EpochMs => later(clock.now().wall, durationMs(knobs.clockSkewMs));

  const exchange = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const request = await receive(incoming, LARGEST_BODY);
    if (request === "too-large") {
      const refusal = { status: 413, code: "OUT_OF_RANGE", message: "The body is too large" };
      return send(response, apiError(refusal), now());
    }
    if (request.path.startsWith(ADMIN_PREFIX)) {
      const target = { knobs, counters: ledger.snapshot() };
      const body = request.body.toString();
      const answer = answerAdmin(request.method, request.path, body, target, clock.now());
      return send(response, answer, now());
    }
    const call = callOf(request, ledger.arrive(), clock);
    await emulator.onCall?.(call);
    if (call.operation !== "resource") await waits.wait(durationMs(knobs.latencyMs));
    if (strikes(knobs, "hang", call)) return ledger.end(call, "hang");
    if (strikes(knobs, "garbage", call)) {
      send(response, GARBAGE, now());
      return ledger.end(call, "garbage");
    }
    const treated = await treat(world, storage, request, call, listening.url, now());
    const dropped = strikes(knobs, "dropAnswer", call) !== undefined;
    if (dropped) response.destroy();
    else send(response, treated.answer, now());
    ledger.end(call, dropped ? "dropped" : treated.outcome);
  };

  const listening = await listen(options.host ?? "127.0.0.1", options.port ?? 0, exchange);
  const emulator: GoogleEmulator = {
    url: listening.url,
    knobs,
    get counters() {
      return ledger.snapshot();
    },
    onCall: options.onCall,
    count: (operation, outcome) => countOf(ledger.snapshot(), operation, outcome),
    callsEnded: (count) => ledger.reached(count),
    now,
    async stop() {
      waits.stop();
      await listening.stop();
    },
  };
  return emulator;
}

function countOf({ calls }: GoogleCounters, operation?: string, outcome?: string): number {
  return Object.entries(calls)
    .filter(([name]) => operation === undefined || name === operation)
    .flatMap(([, outcomes]) => Object.entries(outcomes))
    .filter(([name]) => outcome === undefined || name === outcome)
    .reduce((sum, [, count]) => sum + count, 0);
}
