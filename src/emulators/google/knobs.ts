/** The calls of Google Cloud, and what its emulator can be asked to do otherwise than Google does. */
import { z } from "zod";
import type { Now } from "../../protocol/time.ts";
import { type Fault, type FaultKnob, type FaultName, strike } from "../shared/faults.ts";
import { type CommonKnobs, commonDefaults, wireFault, wireFields } from "../shared/knobs.ts";

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

/** A fault in detail; its code is an OAuth error of STS, or a gRPC status of IAM. */
export interface GoogleFault extends Fault<GoogleCall> {
  /** Only these operations. Default: those of issuers. */
  readonly operations?: readonly string[] | undefined;
}

export interface GoogleKnobs extends CommonKnobs<GoogleFault> {
  /** 429. */
  throttle: FaultKnob<GoogleFault>;
  /** 503; another `status` for another one. */
  fail5xx: FaultKnob<GoogleFault>;
  /** STS: 400 `unauthorized_client`; IAM: 403 `PERMISSION_DENIED`. */
  deny: FaultKnob<GoogleFault>;
  /** STS: 400 `invalid_grant`; IAM: 400 `INVALID_ARGUMENT`; or the `status` and `code` of the fault. */
  refuse: FaultKnob<GoogleFault>;
  /**
   * What is issued has ended an hour ago (and is refused): tokens of service accounts, or with
   * `federated` those of assertions.
   */
  expiryInPast: boolean | "federated";
}

export const defaultKnobs = (): GoogleKnobs => commonDefaults();

/** Operations of issuers: what a fault strikes where it names none, so that consumers never meet it. */
const ISSUERS: readonly string[] = ["exchange", "downscope", "generateAccessToken", "unknown"];

/** Whether a fault strikes this call; counts it down. The detail carries status and code. */
export function strikes(
  knobs: GoogleKnobs,
  name: FaultName,
  call: GoogleCall,
): Fault<GoogleCall> | undefined {
  const knob = knobs[name];
  const named = typeof knob === "object" ? knob.operations : undefined;
  if (!(named ?? ISSUERS).includes(call.operation)) return undefined;
  return strike(knobs, name, call);
}

/** The JSON form of `POST /_emulator/knobs` and of `main.ts --knobs`: any subset of the knobs. */
export const wireKnobs = z
  .strictObject({
    ...wireFields(wireFault({ operations: z.array(z.enum(GOOGLE_OPERATIONS)).optional() })),
    expiryInPast: z.union([z.boolean(), z.literal("federated")]),
  })
  .partial();
