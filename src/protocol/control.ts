/**
 * The operator's commands and the coordinator's answers: signed both ways, each command with a
 * nonce and an expiry, so that a recorded one can't be played again.
 */
import * as z from "zod";
import { text, utf8 } from "./encoding.ts";
import type { SigningKey, VerifyKey } from "./keys.ts";
import { nameSchema } from "./names.ts";
import { readSigned, signDocument } from "./signed.ts";

export const REASONS = [
  "initial",
  "scheduled",
  "retry",
  "forced",
  "demand",
  "recovery",
  "config",
] as const;
/** Why a credential was obtained. */
export type Reason = (typeof REASONS)[number];
const reasonSchema = z.enum(REASONS);

export const commandSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("status") }),
  z.object({
    kind: z.literal("agents"),
    /** `next` of the answer before, for those that follow. Absent: from the first. */
    after: z.string().max(200).optional(),
  }),
  z.object({
    kind: z.literal("rotate"),
    /** Absent: all providers. */
    providers: z.array(nameSchema).max(100).optional(),
    /** For the audit: why, in the operator's words. */
    text: z.string().max(500),
  }),
  /** How a rotation that `rotate` has named stands. */
  z.object({ kind: z.literal("rotation"), id: z.string() }),
  z.object({ kind: z.literal("end") }),
]);
export type Command = z.infer<typeof commandSchema>;

export const commandEnvelopeSchema = z.object({
  v: z.literal(1),
  tenant: nameSchema,
  job: nameSchema,
  operator: nameSchema,
  nonce: z.string().min(16).max(64),
  issuedAtMs: z.int(),
  /** At most five minutes after `issuedAtMs`. */
  notAfterMs: z.int(),
  command: commandSchema,
});
export type CommandEnvelope = z.infer<typeof commandEnvelopeSchema>;

export const providerStatusSchema = z.object({
  provider: z.string(),
  kind: z.string(),
  /** `none`: nothing obtained yet; `fresh`; `retrying`: the last attempt failed; `expired`. */
  state: z.enum(["none", "fresh", "retrying", "expired"]),
  generation: z.int(),
  issuedAtMs: z.number().optional(),
  expiresAtMs: z.number().optional(),
  /** Remaining life in milliseconds, 0 when there is none. */
  runwayMs: z.number(),
  /** The issuer's clock less the coordinator's, in milliseconds, when the credential was obtained. */
  skewMs: z.number().optional(),
  /** When the next attempt is planned, from now, in milliseconds. */
  nextAttemptInMs: z.number().optional(),
  lastError: z.object({ code: z.string(), class: z.string(), message: z.string() }).optional(),
  consecutiveFailures: z.int(),
  issuerCalls: z.int(),
  issuerRequests: z.int(),
});
export type ProviderStatus = z.infer<typeof providerStatusSchema>;

export const rotationStatusSchema = z.object({
  /** Of a requested rotation; else `g<generation>`. */
  id: z.string(),
  providers: z.array(z.string()),
  reason: reasonSchema,
  generation: z.int(),
  term: z.int(),
  state: z.enum(["pending", "obtaining", "delivering", "done", "failed"]),
  /** Attempts at the issuer that led to it. */
  issuerCalls: z.int(),
  /** Agents that have applied it. */
  applied: z.int(),
  /** Live agents that have not: the first of them, at most 100. */
  missing: z.array(z.string()),
  /** How many they are. Absent: no more than are named. */
  missingCount: z.int().min(0).optional(),
  publishToLastAckMs: z.number().optional(),
  error: z.string().optional(),
});
export type RotationStatus = z.infer<typeof rotationStatusSchema>;

export const jobStatusSchema = z.object({
  tenant: z.string(),
  job: z.string(),
  phase: z.string(),
  term: z.int(),
  generation: z.int(),
  ready: z.boolean(),
  /** Why not ready, in words. */
  reasons: z.array(z.string()),
  providers: z.array(providerStatusSchema),
  agents: z.object({ live: z.int(), lost: z.int(), upToDate: z.int() }),
  /** The newest last, at most 50. */
  rotations: z.array(rotationStatusSchema),
  /** Messages refused by the coordinator, by ErrorCode. */
  refused: z.record(z.string(), z.int()),
  warnings: z.array(z.string()),
});
export type JobStatus = z.infer<typeof jobStatusSchema>;

export const agentStatusSchema = z.object({
  agent: z.string(),
  instance: z.string(),
  state: z.enum(["live", "lost"]),
  term: z.int(),
  generation: z.int(),
  /** The lowest runway over its providers, in milliseconds. */
  runwayMs: z.number().optional(),
  lastHeardMs: z.number(),
  receivers: z.array(z.object({ kind: z.string(), provider: z.string() })),
  failing: z.record(z.string(), z.string()),
  refused: z.record(z.string(), z.int()),
});
export type AgentStatus = z.infer<typeof agentStatusSchema>;

export const answerSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("status"), status: jobStatusSchema }),
  z.object({
    kind: z.literal("agents"),
    agents: z.array(agentStatusSchema),
    /** There are more: what to ask for them with. An answer fits into a message, whatever the size of the job. */
    next: z.string().optional(),
  }),
  z.object({ kind: z.literal("rotation"), rotation: rotationStatusSchema }),
  z.object({ kind: z.literal("ending") }),
  z.object({ kind: z.literal("refused"), code: z.string(), message: z.string() }),
]);
export type Answer = z.infer<typeof answerSchema>;

export const answerEnvelopeSchema = z.object({
  v: z.literal(1),
  /** The command's. */
  nonce: z.string(),
  term: z.int().min(0),
  sequence: z.int().min(1),
  timeMs: z.int(),
  answer: answerSchema,
});
export type AnswerEnvelope = z.infer<typeof answerEnvelopeSchema>;

export const sealCommand = async (e: CommandEnvelope, key: SigningKey): Promise<Uint8Array> =>
  utf8(await signDocument("evergrant-command", e, key));

/** @throws MESSAGE_FORGED, MESSAGE_MALFORMED. Job, nonce and expiry are judged by the core. */
export const openCommand = (
  bytes: Uint8Array,
  operators: readonly VerifyKey[],
): Promise<CommandEnvelope> =>
  readSigned("evergrant-command", commandEnvelopeSchema, text(bytes), operators);

export const sealAnswer = async (e: AnswerEnvelope, key: SigningKey): Promise<Uint8Array> =>
  utf8(await signDocument("evergrant-answer", e, key));

/** @throws MESSAGE_FORGED, MESSAGE_MALFORMED. The caller compares the nonce. */
export const openAnswer = (
  bytes: Uint8Array,
  keys: readonly VerifyKey[],
): Promise<AnswerEnvelope> =>
  readSigned("evergrant-answer", answerEnvelopeSchema, text(bytes), keys);
