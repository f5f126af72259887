/**
 * How each role connects: the client library's options by role (source of the values: measurements
 * on nats-server 2.9, docs/protocol.md "Connections").
 */
import type { NodeConnectionOptions } from "@nats-io/transport-node";
import type { JobId } from "../protocol/names.ts";
import type { Role } from "../protocol/permissions.ts";
import { inboxPrefix } from "../protocol/subjects.ts";

interface Pace {
  readonly reconnectTimeWait: number;
  readonly reconnectJitter: number;
  readonly reconnectJitterTLS: number;
  readonly pingInterval: number;
  readonly maxPingOut: number;
  readonly timeout: number;
}

/** All in milliseconds, but `maxPingOut`: a server that is frozen is noticed after pingInterval * (maxPingOut + 1). */
const PACE: Readonly<Record<Role, Pace>> = {
  // Thousands of agents come back at once: they spread out.
  agent: {
    reconnectTimeWait: 1000,
    reconnectJitter: 5000,
    reconnectJitterTLS: 10_000,
    pingInterval: 20_000,
    maxPingOut: 2,
    timeout: 5000,
  },
  // It has a lease to renew: it notices and comes back soon.
  coordinator: {
    reconnectTimeWait: 1000,
    reconnectJitter: 500,
    reconnectJitterTLS: 10_000,
    pingInterval: 5000,
    maxPingOut: 2,
    timeout: 3000,
  },
  operator: {
    reconnectTimeWait: 500,
    reconnectJitter: 100,
    reconnectJitterTLS: 500,
    pingInterval: 20_000,
    maxPingOut: 2,
    timeout: 3000,
  },
};

/** What tests may make quicker. Milliseconds. */
export type PaceOverride = Partial<Pace>;

/** @param name of the client: the agent's, or whatever tells two coordinators or operators apart. */
export function roleOptions(
  role: Role,
  id: JobId,
  name: string,
  pace: PaceOverride = {},
): NodeConnectionOptions {
  return {
    ...PACE[role],
    ...pace,
    name: `${role}-${id.tenant}.${id.job}-${name}`,
    inboxPrefix: inboxPrefix(id, role, name),
    maxReconnectAttempts: -1,
    // The first connect is retried by connect.ts, which can say why it waits and give up.
    waitOnFirstConnect: false,
    // Else two refused logins in a row, as in a rolling change of users, end the connection for good.
    ignoreAuthErrorAbort: true,
    // An Error object per request is saved.
    noAsyncTraces: true,
  };
}
