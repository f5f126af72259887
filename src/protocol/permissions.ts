/**
 * Who may say and hear what: the one table from which the embedded server's users and the shipped
 * server configurations are made. Without it any client could overwrite a lease or read a foreign
 * inbox. Enforcement is the NATS server's.
 *
 * What it leaves open, since the server has nothing finer: a coordinator may read any job's entries
 * of the three buckets (all but leases are sealed) in its account; and whoever may ask JetStream for
 * something (an agent its bundle) may name a bucket's key as the reply subject, where the server then
 * writes its answer. One account per tenant bounds both (docs/protocol.md, "Known limits").
 */
import type { JobId } from "./names.ts";
import {
  AGENT_VERBS,
  AUDIT_FLOW,
  AUDIT_STREAM,
  auditRead,
  BUCKET,
  directGet,
  inboxPrefix,
  jobKey,
  subject,
} from "./subjects.ts";

export type Role = "coordinator" | "agent" | "operator";

/** In the words of the server's configuration. */
export interface Permissions {
  readonly publish: { readonly allow: readonly string[] };
  readonly subscribe: { readonly allow: readonly string[] };
  /** How many replies to a received request, and for how long, are allowed beyond `publish`. */
  readonly allowResponses?: { readonly max: number; readonly expiresSec: number };
}

/**
 * The permissions of a role in one job.
 * @param name the client's own name; `*` for a user that all clients of the role share, as the
 * embedded server has (they can then hear each other's inboxes, where everything is sealed).
 */
export function permissionsOf(role: Role, id: JobId, name = "*"): Permissions {
  const inbox = `${inboxPrefix(id, role, name)}.>`;
  const key = jobKey(id);
  switch (role) {
    case "coordinator":
      return {
        publish: {
          allow: [
            "$JS.API.INFO",
            ...Object.values(BUCKET).flatMap((bucket) => [
              `$JS.API.STREAM.INFO.KV_${bucket}`,
              `$JS.API.STREAM.CREATE.KV_${bucket}`,
              `$JS.API.STREAM.MSG.GET.KV_${bucket}`,
              `$KV.${bucket}.${key}`,
            ]),
            directGet(BUCKET.bundle, key),
            `$JS.API.STREAM.INFO.${AUDIT_STREAM}`,
            `$JS.API.STREAM.CREATE.${AUDIT_STREAM}`,
            subject.audit(id),
            subject.push(id, "*"),
            subject.notice(id),
            // Answers. Not `allow_responses`: that lets a request name any subject as its reply, and
            // so make the coordinator write another job's lease for it.
            `${inboxPrefix(id, "agent", "*")}.>`,
            `${inboxPrefix(id, "operator", "*")}.>`,
          ],
        },
        subscribe: {
          allow: [
            inbox,
            ...AGENT_VERBS.map((verb) => subject.agent(id, verb, "*")),
            subject.control(id),
          ],
        },
      };
    case "agent":
      return {
        publish: {
          allow: [
            ...AGENT_VERBS.map((verb) => subject.agent(id, verb, name)),
            directGet(BUCKET.bundle, key),
          ],
        },
        subscribe: {
          allow: [inbox, subject.push(id, name), subject.notice(id), subject.bundle(id)],
        },
      };
    case "operator":
      return {
        publish: { allow: [subject.control(id), auditRead(id), AUDIT_FLOW] },
        subscribe: { allow: [inbox, subject.audit(id)] },
      };
  }
}
