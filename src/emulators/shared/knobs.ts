/**
 * The knobs that every emulated issuer has: plain mutable fields, so a test assigns them, and their
 * JSON form, from which the admin path and the command line assign them.
 */
import { z } from "zod";
import { type MonoMs, monoMs, type Now } from "../../protocol/time.ts";
import type { FaultKnob, FaultName } from "./faults.ts";

export interface CommonKnobs<Detail> extends Record<FaultName, FaultKnob<Detail>> {
  /** Overrides the lifetime of what is issued, whatever was asked for; null keeps what was asked for. */
  lifetimeMs: number | null;
  /** Waited before each answer of an issuer; resources answer at once. */
  latencyMs: number;
  /** Never answers; the connection stays open until the client or `stop()` ends it. */
  hang: FaultKnob<Detail>;
  /** 200 with an HTML page. */
  garbage: FaultKnob<Detail>;
  /** Does everything, issues what was asked for, then closes the connection without an answer. */
  dropAnswer: FaultKnob<Detail>;
  /** Answers have no expiry; what is issued still ends when it would have. */
  noExpiration: boolean;
  /** Added to the emulator's clock: Date header, judgement of signatures and assertions, expiry. */
  clockSkewMs: number;
}

/** No fault, no latency, and lifetimes as asked for. */
export const commonDefaults = () => ({
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
});

/** The JSON form of a fault. `narrowing` are the fields that only this emulator's details have. */
export const wireFault = <Narrowing extends z.ZodRawShape>(narrowing: Narrowing) =>
  z.union([
    z.boolean(),
    z.int().min(0),
    z.strictObject({
      calls: z.int().min(0).optional(),
      /** From the moment the request is handled. */
      forMs: z.number().min(0).optional(),
      ...narrowing,
      status: z.int().min(400).max(599).optional(),
      code: z.string().min(1).optional(),
    }),
  ]);

/** The fields of the JSON form of all knobs; an emulator adds its own, or puts its own in their place. */
export const wireFields = <WireFault extends z.ZodType>(fault: WireFault) => ({
  lifetimeMs: z.number().positive().nullable(),
  latencyMs: z.number().min(0),
  throttle: fault,
  fail5xx: fault,
  hang: fault,
  garbage: fault,
  deny: fault,
  refuse: fault,
  dropAnswer: fault,
  expiryInPast: z.boolean(),
  noExpiration: z.boolean(),
  clockSkewMs: z.number(),
});

type Assigned<Value> = Value extends { readonly forMs?: unknown }
  ? Omit<Value, "forMs"> & { readonly untilMono?: MonoMs | undefined }
  : Value;

/** Knobs as they are assigned, from their JSON form: durations become instants of `now`. */
export function fromWire<Wire extends object>(
  wire: Wire,
  now: Now,
): { [Name in keyof Wire]: Assigned<Exclude<Wire[Name], undefined>> } {
  const entries = Object.entries(wire).filter(([, value]) => value !== undefined);
  const timed = entries.map(([name, value]) => {
    if (typeof value !== "object" || value === null || !("forMs" in value)) return [name, value];
    const { forMs, ...fault } = value;
    const untilMono = forMs === undefined ? undefined : monoMs(now.mono + forMs);
    return [name, { ...fault, untilMono }];
  });
  return Object.fromEntries(timed);
}
