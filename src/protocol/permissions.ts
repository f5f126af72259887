/**
 * Who may say and hear what: the one table from which the embedded server's users and the shipped
 * server configurations are made. Without it any client could overwrite a lease or read a foreign
 * inbox. Enforcement is the NATS server's.
 *
 * Agents and operators have no subject of JetStream: it answers to whatever reply subject a request
 * names, a foreign lease's key included, with the server's own rights (docs/adr/0009).
 *
 * What it leaves open, since the server has nothing finer: coordinators that share an account can
 * read each other's entries of the three buckets (all but leases are sealed), and have JetStream
 * write its answers over them. One account per tenant bounds it (docs/protocol.md, "Known limits").
 */
import type { JobId } from "./names.ts";
import { AGENT_VERBS, AUDIT_STREAM, BUCKET, inboxPrefix, jobKey, subject } from "./subjects.ts";

export type Role = "coordinator" | "agent" | "operator";

/** In the words of the server's configuration. */
export interface Permissions {
  readonly publish: { readonly allow: readonly string[] };
  readonly subscribe: { readonly allow: readonly string[] };
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
          allow: AGENT_VERBS.map((verb) => subject.agent(id, verb, name)),
        },
        subscribe: {
          allow: [inbox, subject.push(id, name), subject.notice(id), subject.bundle(id)],
        },
      };
    case "operator":
      return {
        publish: { allow: [subject.control(id)] },
        subscribe: { allow: [inbox] },
      };
  }
}
