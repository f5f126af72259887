/**
 * An emulator of AWS STS on a port of its own: the Query protocol as the SDKs, boto3 and the AWS CLI
 * speak it, with faults on demand. Owns the order in which one call is treated:
 * count, `onCall`, latency, hang, garbage, 5xx, throttling, authentication, deny, refuse, the action.
 * It is for tests and demos; its credentials open nothing but emulators.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Secret } from "../../protocol/secret.ts";
import { type Clock, durationMs, type EpochMs, later, type Random } from "../../protocol/time.ts";
import { ADMIN_PREFIX, answerAdmin } from "./admin.ts";
import { type Answer, listen, receive, send, Waits } from "./exchange.ts";
import type { StsWorld } from "./issuing.ts";
import { base32, type HeldKey, Keyring, randomKeyPair } from "./keyring.ts";
import { defaultKnobs, type StsCall, type StsKnobs, strikes } from "./knobs.ts";
import { Ledger, type StsCounters } from "./ledger.ts";
import { parseParameters } from "./parameters.ts";
import type { Refusal } from "./refusal.ts";
import type { StsRole } from "./roles.ts";
import { callOf, GARBAGE, treat } from "./treatment.ts";
import type { IdentityProvider } from "./web-identity.ts";
import { errorDocument, successDocument } from "./xml.ts";

const LARGEST_BODY = 512 * 1024;

/** A long-lived key pair that may sign. */
export interface BaseCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret<string>;
  /** Default `arn:aws:iam::000000000000:user/base`. */
  readonly arn?: string | undefined;
}

/** Called when a call has come in and before anything is done about it; the answer waits for it. */
export type OnCall = (call: StsCall) => void | Promise<void>;

export interface StsEmulatorOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Default 0: a free port. */
  readonly port?: number | undefined;
  /** Default 127.0.0.1. */
  readonly host?: string | undefined;
  readonly knobs?: Partial<StsKnobs> | undefined;
  /** Default: every well-formed role ARN is a role with a MaxSessionDuration of 12 h. */
  readonly roles?: readonly StsRole[] | undefined;
  /** Default none: every web identity token is refused. */
  readonly identityProviders?: readonly IdentityProvider[] | undefined;
  /** Default: one random pair. The first is offered as `baseCredentials`. */
  readonly baseKeys?: readonly BaseCredentials[] | undefined;
  /** Characters that packed policies and tags may take, default 2048. */
  readonly packedPolicyLimit?: number | undefined;
  readonly onCall?: OnCall | undefined;
}

export interface StsEmulator {
  /** `http://host:port`, for the endpoint setting of a client. */
  readonly url: string;
  readonly baseCredentials: BaseCredentials;
  /** Assign fields to switch faults on and off. */
  readonly knobs: StsKnobs;
  /** A copy of the counts at this moment. */
  readonly counters: StsCounters;
  /** May be replaced at any time. */
  onCall: OnCall | undefined;
  /** Calls of one action (default all), with one outcome (default any). */
  count(action?: string, outcome?: string): number;
  /** Resolves once so many calls have ended since the start; a hung call has ended, too. */
  callsEnded(count: number): Promise<void>;
  /** The key of that id, base or issued; for emulated resources that check signatures. */
  findKey(accessKeyId: string): HeldKey | undefined;
  /** The emulator's own, skewed wall clock. */
  now(): EpochMs;
  /** Closes the port and every connection, hung ones included. */
  stop(): Promise<void>;
}

/** @throws EvergrantError SERVER_START_FAILED where the port can't be had. */
export async function startStsEmulator(options: StsEmulatorOptions): Promise<StsEmulator> {
  const { clock, random } = options;
  const keyring = new Keyring(random);
  const [first, ...others] = options.baseKeys ?? [];
  const baseCredentials = first ?? randomKeyPair(random, "AKIA");
  for (const base of [baseCredentials, ...others]) addBase(keyring, base, random);
  const ledger = new Ledger();
  const knobs: StsKnobs = { ...defaultKnobs(), ...options.knobs };
  const world: StsWorld = {
    keyring,
    ledger,
    knobs,
    roles: options.roles,
    identityProviders: options.identityProviders ?? [],
    packedPolicyLimit: options.packedPolicyLimit ?? 2048,
  };
  const waits = new Waits(clock);
  const now = (): EpochMs => later(clock.now().wall, durationMs(knobs.clockSkewMs));

  const exchange = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const request = await receive(incoming, LARGEST_BODY);
    const requestId = uuidOf(random.bytes(16));
    if (request === "too-large") {
      return send(response, errorAnswer(TOO_LARGE, requestId), now());
    }
    if (request.path.startsWith(ADMIN_PREFIX)) {
      const body = request.body.toString();
      const target = { knobs, counters: ledger.snapshot() };
      return send(
        response,
        answerAdmin(request.method, request.path, body, target, clock.now()),
        now(),
      );
    }
    const parameters = parseParameters(request.query, request.body.toString());
    const call = callOf(request, parameters, ledger.arrive(), clock);
    await emulator.onCall?.(call);
    await waits.wait(durationMs(knobs.latencyMs));
    if (strikes(knobs, "hang", call)) return ledger.end(call, "hang");
    if (strikes(knobs, "garbage", call)) {
      send(response, GARBAGE, now());
      return ledger.end(call, "garbage");
    }
    const result = await treat(world, request, parameters, call, now());
    const dropped = strikes(knobs, "dropAnswer", call) !== undefined;
    if (dropped) {
      response.destroy();
    } else if (result.ok) {
      send(
        response,
        xml(200, successDocument(call.action, result.value, requestId), requestId),
        now(),
      );
    } else {
      send(response, errorAnswer(result.refusal, requestId), now());
    }
    ledger.end(call, dropped ? "dropped" : result.ok ? "ok" : result.refusal.code);
  };

  const listening = await listen(options.host ?? "127.0.0.1", options.port ?? 0, exchange);
  const emulator: StsEmulator = {
    url: listening.url,
    baseCredentials,
    knobs,
    get counters() {
      return ledger.snapshot();
    },
    onCall: options.onCall,
    count: (action, outcome) => countOf(ledger.snapshot(), action, outcome),
    callsEnded: (count) => ledger.reached(count),
    findKey: (accessKeyId) => keyring.find(accessKeyId),
    now,
    async stop() {
      waits.stop();
      await listening.stop();
    },
  };
  return emulator;
}

const TOO_LARGE: Refusal = {
  status: 413,
  code: "RequestEntityTooLargeException",
  message: "The body is too large",
};

function errorAnswer(refusal: Refusal, requestId: string): Answer {
  return xml(refusal.status, errorDocument(refusal, requestId), requestId);
}

function xml(status: number, body: string, requestId: string): Answer {
  return { status, headers: { "content-type": "text/xml", "x-amzn-requestid": requestId }, body };
}

function countOf({ calls }: StsCounters, action?: string, outcome?: string): number {
  return Object.entries(calls)
    .filter(([name]) => action === undefined || name === action)
    .flatMap(([, outcomes]) => Object.entries(outcomes))
    .filter(([name]) => outcome === undefined || name === outcome)
    .reduce((sum, [, count]) => sum + count, 0);
}

function addBase(keyring: Keyring, base: BaseCredentials, random: Random): void {
  const arn = base.arn ?? "arn:aws:iam::000000000000:user/base";
  const account = arn.split(":")[4] ?? "000000000000";
  const userId = `AIDA${base32(random.bytes(17))}`;
  const principal = { kind: "user", arn, userId, account, transitiveTags: new Map() } as const;
  keyring.addBase({ ...base, principal });
}

function uuidOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
