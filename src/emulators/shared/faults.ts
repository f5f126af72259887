/**
 * The faults that an emulated issuer can be asked for, and when each strikes. What a fault is answered
 * with, and how a detail narrows it to some operations, is each emulator's own.
 */
import type { MonoMs, Now } from "../../protocol/time.ts";

export type FaultName =
  | "throttle"
  | "fail5xx"
  | "hang"
  | "garbage"
  | "deny"
  | "refuse"
  | "dropAnswer";

/** A fault in detail. Every field narrows it; `{}` strikes always. */
export interface Fault<Call> {
  /** Strikes this many more times. */
  readonly calls?: number | undefined;
  /** Strikes until this instant of the emulator's monotonic clock. */
  readonly untilMono?: MonoMs | undefined;
  /** Only where this holds. Not settable over HTTP. */
  readonly when?: ((call: Call) => boolean) | undefined;
  /** HTTP status of the answer, where the fault answers with an error. */
  readonly status?: number | undefined;
  /** Error code of the answer, where the fault answers with an error. */
  readonly code?: string | undefined;
}

/** `false` never, `true` always, a number for the next so many calls. */
export type FaultKnob<Detail> = boolean | number | Detail;

/** Whether a fault strikes this call; counts it down. The detail carries status and code. */
export function strike<Call extends { readonly at: Now }>(
  knobs: Record<FaultName, FaultKnob<Fault<Call>>>,
  name: FaultName,
  call: Call,
): Fault<Call> | undefined {
  const knob = knobs[name];
  if (typeof knob === "boolean") return knob ? {} : undefined;
  const fault: Fault<Call> = typeof knob === "number" ? { calls: knob } : knob;
  if (fault.untilMono !== undefined && call.at.mono >= fault.untilMono) return undefined;
  if (fault.calls !== undefined && fault.calls <= 0) return undefined;
  if (fault.when !== undefined && !fault.when(call)) return undefined;
  if (fault.calls !== undefined) {
    knobs[name] = typeof knob === "number" ? knob - 1 : { ...fault, calls: fault.calls - 1 };
  }
  return fault;
}
