/** The calls of STS, and what its emulator can be asked to do otherwise than STS does. */
import { z } from "zod";
import type { Now } from "../../protocol/time.ts";
import { type Fault, type FaultKnob, type FaultName, strike } from "../shared/faults.ts";
import { type CommonKnobs, commonDefaults, wireFault, wireFields } from "../shared/knobs.ts";

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
export interface StsFault extends Fault<StsCall> {
  /** Only these actions. */
  readonly actions?: readonly string[] | undefined;
}

export interface StsKnobs extends CommonKnobs<StsFault> {
  /** 400 `Throttling`. */
  throttle: FaultKnob<StsFault>;
  /** 500 `InternalFailure`; a `status` of 503 turns it into `ServiceUnavailable`. */
  fail5xx: FaultKnob<StsFault>;
  /** 403 `AccessDenied`, after authentication. */
  deny: FaultKnob<StsFault>;
  /** Any error at all, after authentication: `status` (400) and `code` (`ValidationError`) of the fault. */
  refuse: FaultKnob<StsFault>;
  /** The returned Expiration lies one hour in the past (and the credential is refused). */
  expiryInPast: boolean;
  /** Size of session tokens before base64; grow it to test what a large token does. */
  sessionTokenBytes: number;
}

export const defaultKnobs = (): StsKnobs => ({ ...commonDefaults(), sessionTokenBytes: 256 });

/** Whether a fault strikes this call; counts it down. The detail carries status and code. */
export function strikes(
  knobs: StsKnobs,
  name: FaultName,
  call: StsCall,
): Fault<StsCall> | undefined {
  const knob = knobs[name];
  const named = typeof knob === "object" ? knob.actions : undefined;
  if (named !== undefined && !named.includes(call.action)) return undefined;
  return strike(knobs, name, call);
}

/** The JSON form of `POST /_emulator/knobs` and of `main.ts --knobs`: any subset of the knobs. */
export const wireKnobs = z
  .strictObject({
    ...wireFields(wireFault({ actions: z.array(z.enum(STS_ACTIONS)).optional() })),
    sessionTokenBytes: z.int().min(16).max(1_000_000),
  })
  .partial();
