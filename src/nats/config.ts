/**
 * The `nats:` section of the configuration, and the access that it and its parts stand for. Owns the
 * section's shape; refuses to know which job it is for and who its users are on the server.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import * as z from "zod";
import { EvergrantError } from "../protocol/errors.ts";
import type { BrokerAccess } from "../protocol/join.ts";
import { Secret } from "../protocol/secret.ts";
import { type NatsAccess, type NatsAuth, type NatsTls, wantsTls } from "./access.ts";
import type { PaceOverride } from "./role-options.ts";

const loginShape = {
  /** NATS credentials file (JWT and seed). */
  credsFile: z.string().min(1).optional(),
  /** File with an nkey seed. */
  nkeySeedFile: z.string().min(1).optional(),
  user: z.string().min(1).optional(),
  password: z.string().min(1).optional(),
  /** File with the password; white space at its end is dropped. */
  passwordFile: z.string().min(1).optional(),
};

interface LoginFields {
  readonly credsFile?: string | undefined;
  readonly nkeySeedFile?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly passwordFile?: string | undefined;
}

function oneLogin(login: LoginFields, context: z.core.$RefinementCtx): void {
  const ways = [login.credsFile, login.nkeySeedFile, login.user].filter((way) => way !== undefined);
  const fault = (message: string) => context.addIssue({ code: "custom", message });
  if (ways.length > 1) fault("give one of credsFile, nkeySeedFile and user");
  const passwords = [login.password, login.passwordFile].filter((given) => given !== undefined);
  if (passwords.length > 1) fault("give password or passwordFile, not both");
  if (login.user !== undefined && passwords.length === 0)
    fault("user needs password or passwordFile");
  if (login.user === undefined && passwords.length > 0) fault("a password needs user");
}

const loginSchema = z.strictObject(loginShape).superRefine(oneLogin);

export const natsConfigSchema = z
  .strictObject({
    /** `nats://host:port` or `tls://host:port`. */
    servers: z
      .array(
        z.string().regex(/^(nats|tls):\/\/[^\s@]+$/, "expected nats:// or tls://, no user in it"),
      )
      .min(1),
    ...loginShape,
    /** Present, also when empty: the server must offer TLS. */
    tls: z
      .strictObject({
        caFile: z.string().min(1).optional(),
        certFile: z.string().min(1).optional(),
        keyFile: z.string().min(1).optional(),
      })
      .refine((tls) => (tls.certFile === undefined) === (tls.keyFile === undefined), {
        message: "certFile and keyFile go together",
      })
      .optional(),
    /** What the join file gives to agents to log in with. Absent: nothing, agents bring their own. */
    agents: loginSchema.optional(),
    /** What the operator file gives to operators to log in with. */
    operators: loginSchema.optional(),
    /** Copies of each store, 1 to 5. Above 1 needs servers of 2.11 or newer. Default: 1 for new stores. */
    replicas: z.int().min(1).max(5).optional(),
    /** The coordinator asks the broker this often whether it is there; three unanswered end the connection. Default 5 s. */
    pingIntervalSec: z.number().min(0.1).max(600).optional(),
  })
  .superRefine(oneLogin);

/** Paths in it are relative to the configuration file. */
export type NatsConfig = z.infer<typeof natsConfigSchema>;

/** The access of the process that has this configuration. Files are read at each connect. */
export function accessFromConfig(config: NatsConfig, baseDir: string): NatsAccess {
  const at = (path: string) => resolve(baseDir, path);
  const { caFile, certFile, keyFile } = config.tls ?? {};
  const tls: NatsTls = {
    ...(caFile === undefined ? {} : { caFile: at(caFile) }),
    ...(certFile === undefined ? {} : { certFile: at(certFile) }),
    ...(keyFile === undefined ? {} : { keyFile: at(keyFile) }),
  };
  return {
    servers: config.servers,
    auth: loginOf(config, baseDir),
    ...(config.tls !== undefined || wantsTls(config.servers) ? { tls } : {}),
  };
}

/** Of the process that has this configuration; agents have their own. */
export const paceFromConfig = (config: NatsConfig | undefined): PaceOverride =>
  config?.pingIntervalSec === undefined ? {} : { pingInterval: config.pingIntervalSec * 1000 };

/**
 * What the join file (agents) or the operator file says about the broker: the addresses and the CA of
 * this configuration with that role's own login. The coordinator's login and private key never go in.
 * @throws FILE_UNUSABLE
 */
export function brokerAccessFor(
  role: "agents" | "operators",
  config: NatsConfig,
  baseDir: string,
): BrokerAccess {
  const auth = loginOf(config[role] ?? {}, baseDir);
  const { caFile } = config.tls ?? {};
  const base = {
    servers: config.servers,
    ...(caFile === undefined ? {} : { caPem: read(baseDir, caFile) }),
  };
  switch (auth.kind) {
    case "none":
      return base;
    case "password":
      return { ...base, user: auth.user, password: auth.password().reveal() };
    case "creds":
      return { ...base, creds: auth.creds().reveal() };
    case "nkey":
      return { ...base, nkeySeed: auth.seed().reveal() };
  }
}

function loginOf(login: LoginFields, baseDir: string): NatsAuth {
  const { credsFile, nkeySeedFile, user, password, passwordFile } = login;
  if (credsFile !== undefined) {
    return { kind: "creds", creds: () => new Secret(read(baseDir, credsFile)) };
  }
  if (nkeySeedFile !== undefined) {
    return { kind: "nkey", seed: () => new Secret(read(baseDir, nkeySeedFile).trim()) };
  }
  if (user === undefined) return { kind: "none" };
  const secret =
    passwordFile === undefined
      ? () => new Secret(password ?? "")
      : () => new Secret(read(baseDir, passwordFile).trimEnd());
  return { kind: "password", user, password: secret };
}

function read(baseDir: string, path: string): string {
  const file = resolve(baseDir, path);
  try {
    return readFileSync(file, "utf8");
  } catch (thrown) {
    throw EvergrantError.from(thrown, "FILE_UNUSABLE", `reading ${file}`);
  }
}
