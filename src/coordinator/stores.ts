/** Where the job's servers are: the configuration's own, or private ones on loopback. */
import { resolve } from "node:path";
import { type EmbeddedServers, startEmbedded } from "../embedded/embedded-servers.ts";
import type { NatsAccess } from "../nats/access.ts";
import { accessFromConfig, brokerAccessFor, paceFromConfig } from "../nats/config.ts";
import type { PaceOverride } from "../nats/role-options.ts";
import { EvergrantError } from "../protocol/errors.ts";
import type { BrokerAccess } from "../protocol/join.ts";
import type { JobId } from "../protocol/names.ts";
import { permissionsOf, type Role } from "../protocol/permissions.ts";
import type { Clock, DurationMs, Random } from "../protocol/time.ts";
import type { Log } from "../runtime/log.ts";
import type { RedisConfig } from "./adapters/redis-config.ts";
import type { JobConfig } from "./config.ts";

export interface Stores {
  readonly nats: NatsAccess;
  /** What join and operator file say about the broker. */
  readonly forAgents: BrokerAccess;
  readonly forOperators: BrokerAccess;
  readonly redis: RedisConfig;
  /** Private ones run under this process. */
  readonly embedded: EmbeddedServers | undefined;
  readonly replicas: number | undefined;
  /** What the configuration says about the connection's pace. */
  readonly pace: PaceOverride;
}

export interface StoreOptions {
  readonly runDir: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly startTimeout: DurationMs;
  readonly log: Log;
}

const ROLES: readonly Role[] = ["coordinator", "agent", "operator"];

/** @throws SERVER_START_FAILED, FILE_UNUSABLE */
export async function openStores(config: JobConfig, options: StoreOptions): Promise<Stores> {
  const { nats, redis, baseDir } = config;
  if (nats !== undefined && redis !== undefined) {
    return {
      nats: accessFromConfig(nats, baseDir),
      forAgents: brokerAccessFor("agents", nats, baseDir),
      forOperators: brokerAccessFor("operators", nats, baseDir),
      redis: absolute(redis, baseDir),
      embedded: undefined,
      replicas: nats.replicas,
      pace: paceFromConfig(nats),
    };
  }
  const id: JobId = { tenant: config.tenant, job: config.job };
  const embedded = await startEmbedded({
    runDir: options.runDir,
    clock: options.clock,
    random: options.random,
    startTimeout: options.startTimeout,
    users: ROLES.map((role) => ({ user: role, permissions: permissionsOf(role, id) })),
    onEvent: (event) => options.log("info", `embedded server ${event.kind}`, { ...event }),
  });
  const privately = (role: Role): BrokerAccess => {
    const password = embedded.nats.passwords.get(role);
    if (password === undefined) throw new EvergrantError("INTERNAL", `no embedded user ${role}`);
    return { servers: [embedded.nats.url], user: role, password: password.reveal() };
  };
  const own = embedded.nats.passwords.get("coordinator");
  if (own === undefined) throw new EvergrantError("INTERNAL", "no embedded user coordinator");
  return {
    nats:
      nats === undefined
        ? {
            servers: [embedded.nats.url],
            auth: { kind: "password", user: "coordinator", password: () => own },
          }
        : accessFromConfig(nats, baseDir),
    forAgents: nats === undefined ? privately("agent") : brokerAccessFor("agents", nats, baseDir),
    forOperators:
      nats === undefined ? privately("operator") : brokerAccessFor("operators", nats, baseDir),
    redis:
      redis === undefined
        ? { url: embedded.redis.url.reveal(), cluster: false }
        : absolute(redis, baseDir),
    embedded,
    replicas: nats?.replicas,
    pace: paceFromConfig(nats),
  };
}

/** Paths in the configuration are relative to its folder. */
function absolute(redis: RedisConfig, baseDir: string): RedisConfig {
  const at = (path: string): string => resolve(baseDir, path);
  const { caFile, certFile, keyFile, passwordFile, sentinel } = redis;
  return {
    ...redis,
    ...(caFile === undefined ? {} : { caFile: at(caFile) }),
    ...(certFile === undefined ? {} : { certFile: at(certFile) }),
    ...(keyFile === undefined ? {} : { keyFile: at(keyFile) }),
    ...(passwordFile === undefined ? {} : { passwordFile: at(passwordFile) }),
    ...(sentinel?.passwordFile === undefined
      ? {}
      : { sentinel: { ...sentinel, passwordFile: at(sentinel.passwordFile) } }),
  };
}
