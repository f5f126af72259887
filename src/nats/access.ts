/**
 * How one client reaches and logs in to the broker. Owns the turning of addresses, credentials and
 * certificates into the client library's options; refuses to know where they come from (config.ts,
 * the join file). Secrets are functions, read anew at each connect, so that a renewed file is used.
 */
import {
  type Authenticator,
  credsAuthenticator,
  nkeyAuthenticator,
  type TlsOptions,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";
import { utf8 } from "../protocol/encoding.ts";
import type { BrokerAccess } from "../protocol/join.ts";
import { Secret } from "../protocol/secret.ts";

export type NatsAuth =
  | { readonly kind: "none" }
  | { readonly kind: "password"; readonly user: string; password(): Secret<string> }
  /** A NATS credentials file's text: JWT and seed. */
  | { readonly kind: "creds"; creds(): Secret<string> }
  /** An nkey seed (`SU…`). */
  | { readonly kind: "nkey"; seed(): Secret<string> };

/** Each as a file, which is read at each connect, or as PEM text. */
export interface NatsTls {
  readonly ca?: string;
  readonly caFile?: string;
  readonly cert?: string;
  readonly certFile?: string;
  readonly key?: Secret<string>;
  readonly keyFile?: string;
}

export interface NatsAccess {
  /** `nats://host:port` or `tls://host:port`, at least one. */
  readonly servers: readonly string[];
  readonly auth: NatsAuth;
  /** Present, also when empty: a server without TLS is refused before anything is sent to it. */
  readonly tls?: NatsTls;
}

/** The access that a join or operator file carries. */
export function accessFromBroker(broker: BrokerAccess): NatsAccess {
  const { caPem, certPem, keyPem } = broker;
  const tls: NatsTls = {
    ...(caPem === undefined ? {} : { ca: caPem }),
    ...(certPem === undefined ? {} : { cert: certPem }),
    ...(keyPem === undefined ? {} : { key: new Secret(keyPem) }),
  };
  return {
    servers: broker.servers,
    auth: authOf(broker),
    ...(Object.keys(tls).length > 0 || wantsTls(broker.servers) ? { tls } : {}),
  };
}

function authOf({ user, password, creds, nkeySeed }: BrokerAccess): NatsAuth {
  if (creds !== undefined) return { kind: "creds", creds: () => new Secret(creds) };
  if (nkeySeed !== undefined) return { kind: "nkey", seed: () => new Secret(nkeySeed) };
  if (user === undefined) return { kind: "none" };
  return { kind: "password", user, password: () => new Secret(password ?? "") };
}

/** True when an address says itself that it is to be reached through TLS. */
export const wantsTls = (servers: readonly string[]): boolean =>
  servers.some((server) => server.startsWith("tls://"));

/** In the client library's words. */
export function authenticatorOf(auth: NatsAuth): Authenticator | undefined {
  switch (auth.kind) {
    case "none":
      return undefined;
    case "password":
      return lasting(auth.password, (password) =>
        usernamePasswordAuthenticator(auth.user, password),
      );
    case "creds":
      return lasting(auth.creds, (creds) => credsAuthenticator(utf8(creds)));
    case "nkey":
      return lasting(auth.seed, (seed) => nkeyAuthenticator(utf8(seed.trim())));
  }
}

/**
 * Logs in with what `read` yields now, or with what worked last while that is missing or half
 * written: an authenticator that throws makes the library close the connection for good.
 */
function lasting(
  read: () => Secret<string>,
  make: (secret: string) => Authenticator,
): Authenticator {
  let last: Authenticator | undefined;
  return (nonce) => {
    try {
      const fresh = make(read().reveal());
      const login = fresh(nonce);
      last = fresh;
      return login;
    } catch (thrown) {
      if (last === undefined) throw thrown;
      return last(nonce);
    }
  };
}

/** In the client library's words. An empty object still makes it insist on TLS. */
export function tlsOptionsOf({ key, ...rest }: NatsTls): TlsOptions {
  return { ...rest, ...(key === undefined ? {} : { key: key.reveal() }) };
}
