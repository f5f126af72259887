/**
 * Every NATS subject, bucket and stream of the protocol (docs/protocol.md, "Subjects"). No other
 * file spells one out.
 */
import type { JobId } from "./names.ts";

const ROOT = "evergrant.v1";

export const BUCKET = {
  lease: "evergrant_leases",
  state: "evergrant_state",
  bundle: "evergrant_bundles",
} as const;

export const AUDIT_STREAM = "EVERGRANT_AUDIT";
export const AUDIT_SUBJECTS = `${ROOT}.audit.>`;

/** What an agent says to its coordinator; each is a subject with the agent's name as last token. */
export const AGENT_VERBS = ["register", "ack", "beat", "demand"] as const;
export type AgentVerb = (typeof AGENT_VERBS)[number];

/** The key of a job in each of the three buckets. */
export const jobKey = ({ tenant, job }: JobId): string => `${tenant}.${job}`;

/** Where the bundle bucket republishes to; the tail of the key is appended by the server. */
export const BUNDLE_REPUBLISH = {
  src: `$KV.${BUCKET.bundle}.>`,
  dest: `${ROOT}.bundle.>`,
} as const;

const base = (id: JobId): string => `${ROOT}.job.${id.tenant}.${id.job}`;

export const subject = {
  /** Coordinator to all agents: the sealed bundle. An empty message means the key was removed: ignore it. */
  bundle: (id: JobId): string => `${ROOT}.bundle.${id.tenant}.${id.job}`,
  /** Agent to coordinator; `*` as agent for the coordinator's subscription. */
  agent: (id: JobId, verb: AgentVerb, agent: string): string => `${base(id)}.${verb}.${agent}`,
  /** Coordinator to one agent that lags: the sealed bundle once more. */
  push: (id: JobId, agent: string): string => `${base(id)}.push.${agent}`,
  /** Coordinator to all agents: rekey, report, goodbye. */
  notice: (id: JobId): string => `${base(id)}.notice`,
  /** Operator to coordinator, request and reply. */
  control: (id: JobId): string => `${base(id)}.control`,
  audit: (id: JobId): string => `${ROOT}.audit.${id.tenant}.${id.job}`,
} as const;

/** The agent's name in a received subject of `subject.agent`; undefined when it is not one. */
export function agentOfSubject(received: string): string | undefined {
  const tokens = received.split(".");
  return tokens.length === 7 && tokens[2] === "job" ? tokens[6] : undefined;
}

/** Request inboxes of one client. Nobody else may subscribe to them (permissions.ts). */
export const inboxPrefix = (id: JobId, role: "agent" | "coordinator" | "operator", name: string) =>
  `_INBOX_eg.${id.tenant}.${id.job}.${role}.${name}`;

/**
 * True for an inbox of just that client (any of the role without a name). Only there may an answer
 * go: a reply subject is the asker's choice, and may be a key of a bucket that the answerer may write.
 */
export function isInboxOf(
  reply: string,
  id: JobId,
  role: "agent" | "operator",
  name?: string,
): boolean {
  const prefix = inboxPrefix(id, role, name ?? "");
  return reply.startsWith(name === undefined ? prefix : `${prefix}.`);
}
