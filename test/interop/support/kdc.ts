/**
 * Real MIT KDCs, one process and one database for each realm, on free loopback ports. Owns their
 * files and principals. Programs come from the machine, or from Debian's packages without root.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../../src/embedded/answers.ts";
import { eventually } from "../../support/eventually.ts";
import { type Foreground, runProgram, startForeground } from "./foreground.ts";

const TOOLS = fileURLToPath(new URL("../../../tools/setup/kerberos.mjs", import.meta.url));
interface Tools {
  readonly path: readonly string[];
  readonly libraries: readonly string[];
  readonly databaseModules?: string;
}
let tools: Promise<Tools> | undefined;

/** Sees to it that MIT's programs and the binding are there, and that this process finds them. */
async function kerberosTools(): Promise<Tools> {
  const { status, stdout, stderr } = await runProgram(process.execPath, [TOOLS]);
  if (status !== 0) throw new Error(`Kerberos is not to be had here: ${stderr}`);
  const found = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Tools;
  const { env } = process;
  env["PATH"] = [...found.path, env["PATH"] ?? ""].join(":");
  if (found.libraries.length > 0) {
    env["LD_LIBRARY_PATH"] = [...found.libraries, env["LD_LIBRARY_PATH"] ?? ""].join(":");
  }
  return found;
}
const MASTER_PASSWORD = "only-for-this-test";

export interface RealmOptions {
  /** How long tickets live, in seconds. Default ten hours. */
  readonly ticketLifeSec?: number;
}

export interface TestRealm {
  readonly name: string;
  readonly dir: string;
  readonly port: number;
  /** A krb5.conf that knows this realm alone. */
  readonly krb5Config: string;
  /** Creates principals with random keys, and a keytab of all of them. */
  keytab(file: string, ...principals: string[]): Promise<string>;
  /** One line of kadmin. */
  admin(...query: string[]): Promise<void>;
  /** Requests of this principal that it has answered, refusals included. */
  requestsOf(principal: string): number;
  /** Whom it has issued tickets for. */
  clients(): ReadonlySet<string>;
  stop(): Promise<void>;
  start(): Promise<void>;
  remove(): Promise<void>;
}

export async function startRealm(name: string, options: RealmOptions = {}): Promise<TestRealm> {
  tools ??= kerberosTools();
  const { databaseModules } = await tools;
  const dir = mkdtempSync(join(tmpdir(), "evergrant-kdc-"));
  const port = await freePort();
  const krb5Config = join(dir, "krb5.conf");
  const kdcProfile = join(dir, "kdc.conf");
  const logFile = join(dir, "kdc.log");
  const life = `${options.ticketLifeSec ?? 36_000}s`;
  writeFileSync(krb5Config, krb5Conf(name, [{ name, port }]));
  writeFileSync(
    kdcProfile,
    `[realms]
 ${name} = {
  database_name = ${dir}/principal
  key_stash_file = ${dir}/stash
  max_life = ${life}
  max_renewable_life = ${life}
  default_principal_flags = +preauth
  kdc_listen = ""
  kdc_tcp_listen = 127.0.0.1:${port}
 }
[logging]
 kdc = FILE:${logFile}
${databaseModules === undefined ? "" : `[dbmodules]\n db_module_dir = ${databaseModules}\n`}`,
  );
  const env = { KRB5_CONFIG: krb5Config, KRB5_KDC_PROFILE: kdcProfile };
  const must = async (program: string, ...args: string[]): Promise<void> => {
    const { status, stderr } = await runProgram(program, args, { env });
    if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
  };
  await must("kdb5_util", "create", "-s", "-r", name, "-P", MASTER_PASSWORD);
  let kdc: Foreground | undefined;
  const log = (): string => kdc?.log() ?? "";

  const realm: TestRealm = {
    name,
    dir,
    port,
    krb5Config,
    admin: (...query) => must("kadmin.local", "-r", name, ...query),
    async keytab(file, ...principals) {
      const path = join(dir, file);
      const queries = principals.flatMap((who) => [
        `addprinc -randkey -maxlife ${life.replace("s", "")}seconds ${who}`,
        `ktadd -q -k ${path} ${who}`,
      ]);
      const { stdout, stderr, status } = await runProgram("kadmin.local", ["-r", name], {
        env,
        input: `${queries.join("\n")}\n`,
      });
      if (status !== 0) throw new Error(`kadmin.local: ${stdout}${stderr}`);
      return path;
    },
    requestsOf: (principal) =>
      log()
        .split("\n")
        .filter((line) => / (AS|TGS)_REQ /.test(line) && line.includes(` ${principal} for `))
        .length,
    clients: () =>
      new Set([...log().matchAll(/ISSUE: .*}, (\S+) for /g)].map(([, who]) => who ?? "")),
    async stop() {
      await kdc?.end();
    },
    async start() {
      const before = log().length;
      kdc = startForeground("krb5kdc", ["-n", "-r", name], { logFile, env });
      await eventually(() => log().slice(before).includes("commencing operation"));
    },
    async remove() {
      await realm.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  await realm.start();
  return realm;
}

/** Lets principals of `from` get tickets in `to`. One way; for both, call it twice. */
export async function trust(from: TestRealm, to: TestRealm): Promise<void> {
  const key = "the-same-on-both-sides";
  const principal = `krbtgt/${to.name}@${from.name}`;
  for (const realm of [from, to]) await realm.admin("-q", `addprinc -pw ${key} ${principal}`);
}

export interface KnownRealm {
  readonly name: string;
  readonly port: number;
}

/** @param hosts which realm a server's host is in; absent: the default realm. */
export function krb5Conf(
  defaultRealm: string,
  realms: readonly KnownRealm[],
  hosts: Readonly<Record<string, string>> = {},
): string {
  return `[libdefaults]
 default_realm = ${defaultRealm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
[realms]
${realms.map(({ name, port }) => ` ${name} = {\n  kdc = 127.0.0.1:${port}\n }`).join("\n")}
[domain_realm]
${Object.entries(hosts)
  .map(([host, realm]) => ` ${host} = ${realm}`)
  .join("\n")}
`;
}

/** A krb5.conf of a realm whose KDC nobody runs: what a client has that must do without Kerberos. */
export function unreachableKrb5Conf(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "no-kdc.krb5.conf");
  writeFileSync(path, krb5Conf("NOWHERE.TEST", [{ name: "NOWHERE.TEST", port: 9 }]));
  return path;
}
