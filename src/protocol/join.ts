/**
 * How an executor gets in: the join file that the driver hands out, the join token in it, and the
 * membership ticket that an agent keeps once it is in, so that it needs no fresh token afterwards.
 */
import * as z from "zod";
import { EvergrantError } from "./errors.ts";
import {
  jobPublicKeysSchema,
  type SigningKey,
  signingKeySchema,
  type VerifyKey,
  verifyKeySchema,
} from "./keys.ts";
import { type JobId, nameSchema, sameJob } from "./names.ts";
import { readSigned, signDocument } from "./signed.ts";
import type { EpochMs } from "./time.ts";

/** How to reach the broker, as join and operator files carry it. Holds secrets: files are 0600. */
export const brokerAccessSchema = z.object({
  servers: z.array(z.string().min(1)).min(1),
  user: z.string().optional(),
  password: z.string().optional(),
  /** A NATS credentials file's text (JWT and seed). */
  creds: z.string().optional(),
  /** An nkey seed. */
  nkeySeed: z.string().optional(),
  /** PEM. Any of these present: TLS is required. */
  caPem: z.string().optional(),
  certPem: z.string().optional(),
  keyPem: z.string().optional(),
});
export type BrokerAccess = z.infer<typeof brokerAccessSchema>;

export const joinFileSchema = z.object({
  version: z.literal(1),
  tenant: nameSchema,
  job: nameSchema,
  /** RFC 3339: when the token in it ends. The coordinator rewrites the file before that. */
  expiresAt: z.iso.datetime(),
  token: z.string().min(1),
  nats: brokerAccessSchema,
  jobKeys: jobPublicKeysSchema,
});
export type JoinFile = z.infer<typeof joinFileSchema>;

export const operatorFileSchema = z.object({
  version: z.literal(1),
  tenant: nameSchema,
  job: nameSchema,
  /** The operator's name, as it appears in the audit. */
  operator: nameSchema,
  nats: brokerAccessSchema,
  jobKeys: jobPublicKeysSchema,
  /** The operator's own private signing key. */
  key: signingKeySchema,
});
export type OperatorFile = z.infer<typeof operatorFileSchema>;

export const joinTokenSchema = z.object({
  /** Random; registrations are counted against it. */
  id: z.string().min(8).max(64),
  tenant: nameSchema,
  job: nameSchema,
  notAfterMs: z.int().min(0),
  /** How many agents may register with it, 1 to 1,000,000. */
  maxAgents: z.int().min(1).max(1_000_000),
});
export type JoinToken = z.infer<typeof joinTokenSchema>;

export const signJoinToken = (token: JoinToken, key: SigningKey): Promise<string> =>
  signDocument("evergrant-join", token, key);

/** @throws JOIN_TOKEN_INVALID (forged, malformed, another job's), JOIN_TOKEN_EXPIRED */
export async function readJoinToken(
  jws: string,
  job: JobId,
  keys: readonly VerifyKey[],
  now: EpochMs,
): Promise<JoinToken> {
  let token: JoinToken;
  try {
    token = await readSigned("evergrant-join", joinTokenSchema, jws, keys);
  } catch (cause) {
    throw new EvergrantError("JOIN_TOKEN_INVALID", "the join token is not this job's", { cause });
  }
  if (!sameJob(token, job)) {
    throw new EvergrantError("JOIN_TOKEN_INVALID", `a join token of ${token.tenant}/${token.job}`);
  }
  if (token.notAfterMs <= now) {
    throw new EvergrantError("JOIN_TOKEN_EXPIRED", "the join token has ended", {
      details: { notAfterMs: token.notAfterMs, nowMs: now },
    });
  }
  return token;
}

/** Says that the holder of `key` has registered under this name. Signed by the job (docs/adr/0006). */
export const ticketSchema = z.object({
  tenant: nameSchema,
  job: nameSchema,
  agent: nameSchema,
  key: verifyKeySchema,
  /** The token it came in with. */
  tokenId: z.string(),
  issuedAtMs: z.int().min(0),
});
export type Ticket = z.infer<typeof ticketSchema>;

export const signTicket = (ticket: Ticket, key: SigningKey): Promise<string> =>
  signDocument("evergrant-ticket", ticket, key);

/** @throws JOIN_TOKEN_INVALID */
export async function readTicket(
  jws: string,
  job: JobId,
  keys: readonly VerifyKey[],
): Promise<Ticket> {
  const refused = (cause?: unknown) =>
    new EvergrantError("JOIN_TOKEN_INVALID", "the membership ticket is not this job's", { cause });
  const ticket = await readSigned("evergrant-ticket", ticketSchema, jws, keys).catch((cause) => {
    throw refused(cause);
  });
  if (!sameJob(ticket, job)) throw refused();
  return ticket;
}
