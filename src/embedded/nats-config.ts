/**
 * The configuration file of a private nats-server, as a pure function of its inputs.
 * Owns what differs between server generations; refuses to know who the users are
 * (the caller brings them as data) and where anything is written.
 */
import type { Permissions } from "../protocol/permissions.ts";
import { atLeast, type ServerVersion } from "./find-server.ts";

/** A user with a password. Without `permissions` the user may do everything; an empty list allows nothing. */
export interface NatsUser {
  readonly user: string;
  readonly password: string;
  readonly permissions?: Permissions;
}

/** Any JSON value: nats-server's configuration language takes JSON for values. */
export type NatsSetting =
  | string
  | number
  | boolean
  | readonly NatsSetting[]
  | { readonly [key: string]: NatsSetting };

export interface NatsConfigOptions {
  readonly version: ServerVersion;
  readonly port: number;
  /** Shown in the server's INFO line, by which the one who started it knows it again. */
  readonly serverName: string;
  /** JetStream's folder; undefined switches JetStream off. */
  readonly storeDir?: string;
  /** Empty: no authentication at all. */
  readonly users: readonly NatsUser[];
  /** Further top-level settings; they win over those made here. */
  readonly extra?: Readonly<Record<string, NatsSetting>>;
}

/** The text of a nats-server configuration file (source of the values: messaging reference, 2.2). */
export function natsConfig(options: NatsConfigOptions): string {
  const settings: Record<string, NatsSetting> = {
    server_name: options.serverName,
    host: "127.0.0.1",
    port: options.port,
    max_payload: 1_048_576,
    write_deadline: "10s",
    ping_interval: "20s",
  };
  if (options.storeDir !== undefined) {
    settings["jetstream"] = {
      store_dir: options.storeDir,
      // 2.9 refuses to start on a setting that it does not know.
      ...(atLeast(options.version, 2, 10) ? { sync_interval: "always" } : {}),
    };
  }
  if (options.users.length > 0) {
    settings["authorization"] = { users: options.users.map(userEntry) };
  }
  return Object.entries({ ...settings, ...options.extra })
    .map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`)
    .join("");
}

function userEntry({ user, password, permissions }: NatsUser): NatsSetting {
  if (permissions === undefined) return { user, password };
  const { publish, subscribe } = permissions;
  return {
    user,
    password,
    permissions: {
      publish: subjects(publish.allow),
      subscribe: subjects(subscribe.allow),
    },
  };
}

/** An empty allow list means "everything" to the server; here it means nothing. */
function subjects(allow: readonly string[]): NatsSetting {
  return allow.length === 0 ? { deny: [">"] } : { allow };
}
