/**
 * The faults that can be switched on, and when each strikes. All knobs are plain mutable fields, so a
 * test assigns them; the admin path assigns them from JSON.
 */
import { z } from "zod";
import { type MonoMs, monoMs, type Now } from "../../protocol/time.ts";

/** One call as a fault's predicate and the `onCall` hook see it. Holds no secret. */
export interface StsCall {
  /** `unknown` where the request names no action that is known here. */
  readonly action: StsAction | "unknown";
  /** 1 for the first call since the start. */
  readonly sequence: number;
  /** As claimed in the signature; absent for unsigned calls. */
  readonly accessKeyId?: string;
  readonly roleArn?: string;
  readonly sessionName?: string;
  readonly at: Now;
}

export const STS_ACTIONS = [
  "AssumeRole",
  "AssumeRoleWithWebIdentity",
  "GetSessionToken",
  "GetCallerIdentity",
] as const;
export type StsAction = (typeof STS_ACTIONS)[number];

/** A fault in detail. Every field narrows it; `{}` strikes always. */
export interface Fault {
  /** Strikes this many more times. */
  readonly calls?: number | undefined;
  /** Strikes until this instant of the emulator's monotonic clock. */
  readonly untilMono?: MonoMs | undefined;
  /** Only these actions. */
  readonly actions?: readonly string[] | undefined;
  /** Only where this holds. Not settable over HTTP. */
  readonly when?: ((call: StsCall) => boolean) | undefined;
  /** HTTP status of the answer, where the fault answers with an error. */
  readonly status?: number | undefined;
  /** Error code of the answer, where the fault answers with an error. */
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

export interface StsKnobs extends Record<FaultName, FaultKnob> {
  /** Overrides the lifetime of what is issued, whatever was asked for; null keeps what was asked for. */
  lifetimeMs: number | null;
  /** Waited before each answer. */
  latencyMs: number;
  /** 400 `Throttling`. */
  throttle: FaultKnob;
  /** 500 `InternalFailure`; a `status` of 503 turns it into `ServiceUnavailable`. */
  fail5xx: FaultKnob;
  /** Never answers; the connection stays open until the client or `stop()` ends it. */
  hang: FaultKnob;
  /** 200 with an HTML page. */
  garbage: FaultKnob;
  /** 403 `AccessDenied`, after authentication. */
  deny: FaultKnob;
  /** Any error at all, after authentication: `status` (400) and `code` (`ValidationError`) of the fault. */
  refuse: FaultKnob;
  /** Does everything, issues the credential, then closes the connection without an answer. */
  dropAnswer: FaultKnob;
  /** The returned Expiration lies one hour in the past (and the credential is refused). */
  expiryInPast: boolean;
  /** The answer has no Expiration; the credential still ends when it would have. */
  noExpiration: boolean;
  /** Added to the emulator's clock: Date header, signature window and expiry. */
  clockSkewMs: number;
  /** Size of session tokens before base64; grow it to test what a large token does. */
  sessionTokenBytes: number;
}

export function defaultKnobs(): StsKnobs {
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
    sessionTokenBytes: 256,
  };
}

/** Whether a fault strikes this call; counts it down. The detail carries status and code. */
export function strikes(knobs: StsKnobs, name: FaultName, call: StsCall): Fault | undefined {
  const knob = knobs[name];
  if (knob === false || knob === true) return knob ? {} : undefined;
  const fault: Fault = typeof knob === "number" ? { calls: knob } : knob;
  if (fault.actions !== undefined && !fault.actions.includes(call.action)) return undefined;
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
    actions: z.array(z.enum(STS_ACTIONS)).optional(),
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
    expiryInPast: z.boolean(),
    noExpiration: z.boolean(),
    clockSkewMs: z.number(),
    sessionTokenBytes: z.int().min(16).max(1_000_000),
  })
  .partial();

/** Knobs as they are assigned, from their JSON form: durations become instants of `now`. */
export function fromWire(wire: z.infer<typeof wireKnobs>, now: Now): Partial<StsKnobs> {
  const entries = Object.entries(wire).filter(([, value]) => value !== undefined);
  const timed = entries.map(([name, value]) => {
    if (typeof value !== "object" || value === null || !("forMs" in value)) return [name, value];
    const { forMs, ...fault } = value;
    return [
      name,
      { ...fault, untilMono: forMs === undefined ? undefined : monoMs(now.mono + forMs) },
    ];
  });
  return Object.fromEntries(timed);
}
