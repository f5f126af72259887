/** The job's state in its stored form, and the two ways between it and the core's. */
import * as z from "zod";
import { REASONS } from "../../../protocol/control.ts";
import {
  credentialFromWire,
  credentialToWire,
  credentialWireSchema,
} from "../../../protocol/credential.ts";
import { nameSchema } from "../../../protocol/names.ts";
import { durationMs, epochMs } from "../../../protocol/time.ts";
import type { JobState, ProviderRecord } from "../../core/job-state.ts";

const count = z.int().min(0);

const providerSchema = z.object({
  configDigest: z.string(),
  credential: credentialWireSchema.optional(),
  renewAtMs: z.number().optional(),
  jitterMs: z.number().min(0),
  attempt: count,
  intent: z
    .object({ nonce: z.string(), reason: z.enum(REASONS), durationMs: z.number().min(0) })
    .optional(),
  counts: z.object({
    calls: count,
    obtained: count,
    failures: count,
    recoveries: count,
    requests: count,
  }),
});

export const stateSchema = z.object({
  v: z.literal(1),
  term: count,
  generation: count,
  writeNonce: z.string(),
  groupKids: z.array(z.string().min(1).max(64)).max(16),
  providers: z.record(nameSchema, providerSchema),
  tombstones: z.array(z.object({ provider: nameSchema, generation: count })),
  tokenUses: z.record(z.string(), count),
});
type StateWire = z.infer<typeof stateSchema>;

export function stateToWire({ providers, groupKids, tombstones, ...rest }: JobState): StateWire {
  return {
    v: 1,
    ...rest,
    groupKids: [...groupKids],
    tombstones: [...tombstones],
    providers: mapValues(providers, (record) => ({
      configDigest: record.configDigest,
      credential: record.credential === undefined ? undefined : credentialToWire(record.credential),
      renewAtMs: record.renewAt,
      jitterMs: record.jitter,
      attempt: record.attempt,
      intent:
        record.intent === undefined
          ? undefined
          : {
              nonce: record.intent.nonce,
              reason: record.intent.reason,
              durationMs: record.intent.duration,
            },
      counts: record.counts,
    })),
  };
}

export function stateFromWire({ v: _, providers, ...rest }: StateWire): JobState {
  return {
    ...rest,
    providers: mapValues(
      providers,
      (wire): ProviderRecord => ({
        configDigest: wire.configDigest,
        credential: wire.credential === undefined ? undefined : credentialFromWire(wire.credential),
        renewAt: wire.renewAtMs === undefined ? undefined : epochMs(wire.renewAtMs),
        jitter: durationMs(wire.jitterMs),
        attempt: wire.attempt,
        intent:
          wire.intent === undefined
            ? undefined
            : {
                nonce: wire.intent.nonce,
                reason: wire.intent.reason,
                duration: durationMs(wire.intent.durationMs),
              },
        counts: wire.counts,
      }),
    ),
  };
}

const mapValues = <A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B) =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
