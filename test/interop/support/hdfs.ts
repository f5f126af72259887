/**
 * A real, kerberised HDFS: NameNode (or an HA pair) and one DataNode as processes of their own, with
 * short token lifetimes. Owns its configuration and its faults; refuses to know evergrant.
 */
import { randomBytes } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../../src/embedded/answers.ts";
import { eventually } from "../../support/eventually.ts";
import { type Finished, type Foreground, runProgram, startForeground } from "./foreground.ts";
import { hadoopJars } from "./hadoop-jars.ts";
import { type TestRealm, unreachableKrb5Conf } from "./kdc.ts";

/** The name by which this machine's servers know themselves and their principals. */
const HOST = "localhost";
const NAMESERVICE = "ns1";

export interface HdfsOptions {
  readonly realm: TestRealm;
  /** Default: the realm's own. */
  readonly krb5Config?: string;
  readonly renewIntervalMs: number;
  readonly maxLifetimeMs: number;
  /** Two NameNodes under the nameservice `ns1`. Default false. */
  readonly ha?: boolean;
  /** Short name that may act for others. Default `etl`. */
  readonly proxyUser?: string;
  /** Further settings, of core-site and hdfs-site alike. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface NameNode {
  readonly id: string;
  readonly rpcPort: number;
  readonly webUrl: string;
  kill(): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

export interface TestHdfs {
  readonly dir: string;
  readonly nameservice: string | undefined;
  readonly nameNodes: readonly NameNode[];
  /** `hdfs://…` as clients name it. */
  readonly uri: string;
  /** Folder with core-site.xml and hdfs-site.xml for clients: no keytab, no principal of a client. */
  readonly clientConf: string;
  /** HA: makes this NameNode the active one. */
  activate(id: string): Promise<void>;
  /** Hadoop's own command with nothing but a token file: no ticket, no reachable KDC. */
  withTokens(tokenFile: string, main: string, ...args: string[]): Promise<Finished>;
  /** Hadoop's own command as the superuser. */
  asSuperuser(main: string, ...args: string[]): Promise<Finished>;
  remove(): Promise<void>;
}

export const FS_SHELL = "org.apache.hadoop.fs.FsShell";
export const DT_UTIL = "org.apache.hadoop.security.token.DtUtilShell";

export async function startHdfs(options: HdfsOptions): Promise<TestHdfs> {
  const { realm } = options;
  const jars = await hadoopJars();
  const dir = mkdtempSync(join(tmpdir(), "evergrant-hdfs-"));
  const krb5Config = options.krb5Config ?? realm.krb5Config;
  const ids = options.ha === true ? ["nn1", "nn2"] : ["nn1"];
  const nameservice = options.ha === true ? NAMESERVICE : undefined;
  const ports = await Promise.all(
    ids.map(async () => ({ rpc: await freePort(), web: await freePort() })),
  );
  const [first] = ports;
  const uri = nameservice === undefined ? `hdfs://${HOST}:${first?.rpc}` : `hdfs://${nameservice}`;
  const at = (which: string): string => `${which}/${HOST}@${realm.name}`;
  const keytab = await realm.keytab("servers.keytab", at("nn"), at("dn"), at("HTTP"));
  const signature = join(dir, "http.secret");
  writeFileSync(signature, randomBytes(32).toString("hex"));

  const proxyUser = options.proxyUser ?? "etl";
  const shared: Record<string, string> = {
    "fs.defaultFS": uri,
    "hadoop.security.authentication": "kerberos",
    "hadoop.security.authorization": "true",
    [`hadoop.proxyuser.${proxyUser}.hosts`]: "*",
    [`hadoop.proxyuser.${proxyUser}.groups`]: "*",
    "hadoop.user.group.static.mapping.overrides":
      "nn=supergroup;etl=etl;alice=alice;mallory=mallory;",
    "hadoop.http.filter.initializers": "org.apache.hadoop.security.AuthenticationFilterInitializer",
    "hadoop.http.authentication.type": "kerberos",
    "hadoop.http.authentication.kerberos.principal": at("HTTP"),
    "hadoop.http.authentication.kerberos.keytab": keytab,
    "hadoop.http.authentication.signature.secret.file": signature,
    "dfs.namenode.kerberos.principal": at("nn"),
    "dfs.namenode.keytab.file": keytab,
    "dfs.datanode.kerberos.principal": at("dn"),
    "dfs.datanode.keytab.file": keytab,
    "dfs.web.authentication.kerberos.principal": at("HTTP"),
    "dfs.web.authentication.kerberos.keytab": keytab,
    "hadoop.security.service.user.name.key": at("nn"),
    "dfs.block.access.token.enable": "true",
    // SASL on the data path in place of privileged ports.
    "dfs.data.transfer.protection": "authentication",
    "ignore.secure.ports.for.testing": "true",
    "dfs.http.policy": "HTTP_ONLY",
    "dfs.replication": "1",
    "dfs.namenode.safemode.extension": "0",
    "dfs.namenode.delegation.token.renew-interval": String(options.renewIntervalMs),
    "dfs.namenode.delegation.token.max-lifetime": String(options.maxLifetimeMs),
    "dfs.datanode.data.dir": join(dir, "data"),
    "dfs.datanode.address": `${HOST}:0`,
    "dfs.datanode.http.address": `${HOST}:0`,
    "dfs.datanode.ipc.address": `${HOST}:0`,
    ...addresses(ids, ports, nameservice, dir),
    ...options.settings,
  };
  const clientConf = writeConf(join(dir, "client"), without(shared, /keytab|secret/));
  const noKdc = unreachableKrb5Conf(dir);
  const java = (conf: string, krb5: string, heap: string): string[] => [
    `-Xmx${heap}`,
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.net.preferIPv4Stack=true",
    `-Djava.security.krb5.conf=${krb5}`,
    "-cp",
    `${conf}:${jars}/*`,
  ];
  const nameDir = (id: string): string => join(dir, `name-${id}`);
  const confs = ids.map((id) =>
    writeConf(join(dir, `conf-${id}`), {
      ...shared,
      "dfs.namenode.name.dir": nameDir(id),
      ...(nameservice === undefined ? {} : { "dfs.ha.namenode.id": id }),
    }),
  );

  const NAME_NODE = "org.apache.hadoop.hdfs.server.namenode.NameNode";
  const must = async (done: Promise<Finished>): Promise<Finished> => {
    const finished = await done;
    if (finished.status !== 0) throw new Error(finished.stderr.slice(-3000));
    return finished;
  };
  const conf1 = confs[0] ?? "";
  const format = [...java(conf1, krb5Config, "256m"), NAME_NODE, "-format", "-nonInteractive"];
  await must(runProgram("java", format));
  for (const id of ids.slice(1)) cpSync(nameDir("nn1"), nameDir(id), { recursive: true });

  const nameNodes = ids.map((id, index): NameNode => {
    const logFile = join(dir, `${id}.log`);
    let server: Foreground | undefined;
    return {
      id,
      rpcPort: ports[index]?.rpc ?? 0,
      webUrl: `http://${HOST}:${ports[index]?.web}`,
      kill: async () => server?.end("SIGKILL"),
      stop: async () => server?.end(),
      async start() {
        const before = server?.log().length ?? 0;
        const args = [...java(confs[index] ?? "", krb5Config, "300m"), NAME_NODE];
        server = startForeground("java", args, { logFile });
        await upOrDead(
          server,
          () => server?.log().slice(before).includes("NameNode RPC up at") ?? false,
        );
      },
    };
  });
  const superCache = join(dir, "super.ccache");
  let dataNode: Foreground | undefined;

  const hdfs: TestHdfs = {
    dir,
    nameservice,
    nameNodes,
    uri,
    clientConf,
    async activate(id) {
      const main = "org.apache.hadoop.hdfs.tools.DFSHAAdmin";
      // By force: the other one may be dead, and can't be asked whether it has given up.
      const args = ["-ns", NAMESERVICE, "-transitionToActive", "--forceactive", id];
      await must(hdfs.asSuperuser(main, ...args));
    },
    withTokens: (tokenFile, main, ...args) =>
      runProgram("java", [...java(clientConf, noKdc, "200m"), main, ...args], {
        env: {
          HADOOP_TOKEN_FILE_LOCATION: tokenFile,
          KRB5CCNAME: "FILE:/nonexistent",
          HADOOP_USER_NAME: "",
        },
      }),
    async asSuperuser(main, ...args) {
      const cache = `FILE:${superCache}`;
      const env = { KRB5_CONFIG: krb5Config, KRB5CCNAME: cache };
      await must(runProgram("kinit", ["-k", "-t", keytab, "-c", cache, at("nn")], { env }));
      return runProgram("java", [...java(conf1, krb5Config, "200m"), main, ...args], { env });
    },
    async remove() {
      await Promise.all([...nameNodes.map((node) => node.kill()), dataNode?.end("SIGKILL")]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
  await Promise.all(nameNodes.map((node) => node.start()));
  if (nameservice !== undefined) await hdfs.activate("nn1");
  dataNode = startForeground(
    "java",
    [...java(conf1, krb5Config, "256m"), "org.apache.hadoop.hdfs.server.datanode.DataNode"],
    { logFile: join(dir, "dn.log") },
  );
  await upOrDead(
    dataNode,
    () => dataNode?.log().includes("Successfully sent block report") ?? false,
  );
  await must(hdfs.asSuperuser(FS_SHELL, "-chmod", "1777", "/"));
  return hdfs;
}

async function upOrDead(server: Foreground, isUp: () => boolean): Promise<void> {
  let dead = false;
  void server.gone.then(() => {
    dead = true;
  });
  await eventually(() => dead || isUp());
  if (!isUp()) throw new Error(server.log().slice(-3000));
}

function addresses(
  ids: readonly string[],
  ports: readonly { readonly rpc: number; readonly web: number }[],
  nameservice: string | undefined,
  dir: string,
): Record<string, string> {
  const [first] = ports;
  if (nameservice === undefined) {
    return {
      "dfs.namenode.rpc-address": `${HOST}:${first?.rpc}`,
      "dfs.namenode.http-address": `${HOST}:${first?.web}`,
    };
  }
  const failover = "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider";
  const each = ids.map((id, index) => ({
    [`dfs.namenode.rpc-address.${nameservice}.${id}`]: `${HOST}:${ports[index]?.rpc}`,
    [`dfs.namenode.http-address.${nameservice}.${id}`]: `${HOST}:${ports[index]?.web}`,
  }));
  return Object.assign(
    {
      "dfs.nameservices": nameservice,
      [`dfs.ha.namenodes.${nameservice}`]: ids.join(","),
      [`dfs.client.failover.proxy.provider.${nameservice}`]: failover,
      "dfs.namenode.shared.edits.dir": `file://${join(dir, "shared-edits")}`,
      "dfs.ha.fencing.methods": "shell(/bin/true)",
    },
    ...each,
  );
}

const without = (settings: Record<string, string>, names: RegExp): Record<string, string> =>
  Object.fromEntries(Object.entries(settings).filter(([name]) => !names.test(name)));

function writeConf(folder: string, settings: Readonly<Record<string, string>>): string {
  mkdirSync(folder, { recursive: true });
  const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const properties = Object.entries(settings).map(
    ([name, value]) => `<property><name>${name}</name><value>${escaped(value)}</value></property>`,
  );
  const xml = `<configuration>\n${properties.join("\n")}\n</configuration>\n`;
  for (const file of ["core-site.xml", "hdfs-site.xml"]) writeFileSync(join(folder, file), xml);
  // The jars lack the pages of the web interface, and the servers want their folders to exist.
  for (const page of ["hdfs", "datanode"]) {
    mkdirSync(join(folder, "webapps", page, "WEB-INF"), { recursive: true });
    writeFileSync(join(folder, "webapps", page, "WEB-INF", "web.xml"), "<web-app/>");
  }
  writeFileSync(
    join(folder, "log4j.properties"),
    `log4j.rootLogger=INFO,err
log4j.appender.err=org.apache.log4j.ConsoleAppender
log4j.appender.err.target=System.err
log4j.appender.err.layout=org.apache.log4j.PatternLayout
log4j.appender.err.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
`,
  );
  return folder;
}
