/**
 * The faults that can be switched on, and when each strikes. All knobs are plain mutable fields, so a
 * test assigns them; the admin path assigns them from JSON.
 */
import { z } from "zod";
import { type MonoMs, monoMs, type Now } from "../../protocol/time.ts";

export const GOOGLE_OPERATIONS = [
  "exchange",
  "downscope",
  "generateAccessToken",
  "tokeninfo",
  "resource",
] as const;
/** Two of STS (by the type of the subject token), one of IAM, and what consumers call. */
export type GoogleOperation = (typeof GOOGLE_OPERATIONS)[number];

/** One call as a fault's predicate and the `onCall` hook see it. Holds no secret. */
export interface GoogleCall {
  /** `unknown` where the path is none that is known here. */
  readonly operation: GoogleOperation | "unknown";
  /** 1 for the first call since the start. */
  readonly sequence: number;
  /** The account of generateAccessToken. */
  readonly email?: string;
  /** The `kid` of the assertion, as it says itself. */
  readonly keyId?: string;
  /** Tells the caller's token from others, and is none. */
  readonly tokenDigest?: string;
  readonly path: string;
  readonly at: Now;
}

/** A fault in detail. Every field narrows it; `{}` strikes always. */
export interface Fault {
  /** Strikes this many more times. */
  readonly calls?: number | undefined;
  /** Strikes until this instant of the emulator's monotonic clock. */
  readonly untilMono?: MonoMs | undefined;
  /** Only these operations. */
  readonly operations?: readonly string[] | undefined;
  /** Only where this holds. Not settable over HTTP. */
  readonly when?: ((call: GoogleCall) => boolean) | undefined;
  /** HTTP status of the answer, where the fault answers with an error. */
  readonly status?: number | undefined;
  /** OAuth error of STS, or gRPC status of IAM, where the fault answers with an error. */
  readonly code?: string | undefined;
}

/** `false` never, `true` always, a number for the next so many calls. */
export type FaultKnob = boolean | number | Fault;

const FAULT_NAMES = [
  "throttle",
  "fail5xx",
  "hang",
  "garbage",
  "deny",
  "refuse",
  "dropAnswer",
] as const;
export type FaultName = (typeof FAULT_NAMES)[number];

export interface GoogleKnobs extends Record<FaultName, FaultKnob> {
  /** Overrides the lifetime of what is issued, whatever was asked for; null keeps what was asked for. */
  lifetimeMs: number | null;
  /** Waited before each answer of an issuer; resources answer at once. */
  latencyMs: number;
  /** 429. */
  throttle: FaultKnob;
  /** 503; another `status` for another one. */
  fail5xx: FaultKnob;
  /** Never answers; the connection stays open until the client or `stop()` ends it. */
  hang: FaultKnob;
  /** 200 with an HTML page. */
  garbage: FaultKnob;
  /** STS: 400 `unauthorized_client`; IAM: 403 `PERMISSION_DENIED`. */
  deny: FaultKnob;
  /** STS: 400 `invalid_grant`; IAM: 400 `INVALID_ARGUMENT`; or the `status` and `code` of the fault. */
  refuse: FaultKnob;
  /** Does everything, issues the token, then closes the connection without an answer. */
  dropAnswer: FaultKnob;
  /**
   * What is issued has ended an hour ago (and is refused): tokens of service accounts, or with
   * `federated` those of assertions.
   */
  expiryInPast: boolean | "federated";
  /** Answers have no expiry; the token still ends when it would have. */
  noExpiration: boolean;
  /** Added to the emulator's clock: Date header, judgement of assertions, expiry. */
  clockSkewMs: number;
}

export function defaultKnobs(): GoogleKnobs {
  return {
    lifetimeMs: null,
    latencyMs: 0,
    throttle: false,
    fail5xx: false,
    hang: false,
    garbage: false,
    deny: false,
    refuse: false,
    dropAnswer: false,
    expiryInPast: false,
    noExpiration: false,
    clockSkewMs: 0,
  };
}

/** Operations of issuers: what a fault strikes where it names none, so that consumers never meet it. */
const ISSUERS: readonly string[] = ["exchange", "downscope", "generateAccessToken", "unknown"];

/** Whether a fault strikes this call; counts it down. The detail carries status and code. */
export function strikes(knobs: GoogleKnobs, name: FaultName, call: GoogleCall): Fault | undefined {
  const knob = knobs[name];
  if (knob === false) return undefined;
  const fault: Fault = knob === true ? {} : typeof knob === "number" ? { calls: knob } : knob;
  if (!(fault.operations ?? ISSUERS).includes(call.operation)) return undefined;
  if (fault.untilMono !== undefined && call.at.mono >= fault.untilMono) return undefined;
  if (fault.calls !== undefined && fault.calls <= 0) return undefined;
  if (fault.when !== undefined && !fault.when(call)) return undefined;
  if (fault.calls !== undefined) {
    knobs[name] = typeof knob === "number" ? knob - 1 : { ...fault, calls: fault.calls - 1 };
  }
  return fault;
}

const wireFault = z.union([
  z.boolean(),
  z.int().min(0),
  z.strictObject({
    calls: z.int().min(0).optional(),
    /** From the moment the request is handled. */
    forMs: z.number().min(0).optional(),
    operations: z.array(z.enum(GOOGLE_OPERATIONS)).optional(),
    status: z.int().min(400).max(599).optional(),
    code: z.string().min(1).optional(),
  }),
]);

/** The JSON form of `POST /_emulator/knobs` and of `main.ts --knobs`: any subset of the knobs. */
export const wireKnobs = z
  .strictObject({
    lifetimeMs: z.number().positive().nullable(),
    latencyMs: z.number().min(0),
    throttle: wireFault,
    fail5xx: wireFault,
    hang: wireFault,
    garbage: wireFault,
    deny: wireFault,
    refuse: wireFault,
    dropAnswer: wireFault,
    expiryInPast: z.union([z.boolean(), z.literal("federated")]),
    noExpiration: z.boolean(),
    clockSkewMs: z.number(),
  })
  .partial();

/** Knobs as they are assigned, from their JSON form: durations become instants of `now`. */
export function fromWire(wire: z.infer<typeof wireKnobs>, now: Now): Partial<GoogleKnobs> {
  const entries = Object.entries(wire).filter(([, value]) => value !== undefined);
  const timed = entries.map(([name, value]) => {
    if (typeof value !== "object" || value === null || !("forMs" in value)) return [name, value];
    const { forMs, ...fault } = value;
    const untilMono = forMs === undefined ? undefined : monoMs(now.mono + forMs);
    return [name, { ...fault, untilMono }];
  });
  return Object.fromEntries(timed);
}
