/** The real KMS, HttpFS and YARN ResourceManager, kerberised, with short token lifetimes. */
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../../src/embedded/answers.ts";
import { eventually } from "../../support/eventually.ts";
import { startForeground } from "./foreground.ts";
import { hadoopJars } from "./hadoop-jars.ts";
import type { TestRealm } from "./kdc.ts";

const HOST = "localhost";

export interface TestService {
  readonly url: string;
  readonly log: () => string;
  remove(): Promise<void>;
}

export interface TokenLives {
  readonly renewIntervalSec: number;
  readonly maxLifetimeSec: number;
}

type Settings = Readonly<Record<string, string>>;

/** What a service's recipe is told. */
interface Place {
  readonly dir: string;
  readonly port: number;
  readonly keytab: string;
  readonly principal: (which: string) => string;
}

interface Recipe {
  readonly main: string;
  /** Site file without `.xml`, to settings. */
  readonly files: (place: Place) => Readonly<Record<string, Settings>>;
  readonly properties?: (place: Place) => readonly string[];
  /** In its log once it is ready, where an open port is not enough. */
  readonly ready?: string;
}

const KMS = (lives: TokenLives): Recipe => ({
  main: "org.apache.hadoop.crypto.key.kms.server.KMSWebServer",
  properties: ({ dir }) => [`-Dkms.config.dir=${dir}`],
  files: ({ dir, port, keytab, principal }) => ({
    "kms-site": {
      "hadoop.kms.key.provider.uri": `jceks://file@${dir}/kms.keystore`,
      "hadoop.kms.http.port": String(port),
      "hadoop.kms.authentication.type": "kerberos",
      "hadoop.kms.authentication.kerberos.principal": principal("HTTP"),
      "hadoop.kms.authentication.kerberos.keytab": keytab,
      "hadoop.kms.authentication.delegation-token.renew-interval.sec": String(
        lives.renewIntervalSec,
      ),
      "hadoop.kms.authentication.delegation-token.max-lifetime.sec": String(lives.maxLifetimeSec),
      "hadoop.kms.proxyuser.etl.hosts": "*",
      "hadoop.kms.proxyuser.etl.users": "*",
    },
    "kms-acls": {},
  }),
});

const HTTPFS = (lives: TokenLives): Recipe => ({
  main: "org.apache.hadoop.fs.http.server.HttpFSServerWebServer",
  properties: ({ dir }) =>
    ["home", "config", "log", "temp"].map((which) => `-Dhttpfs.${which}.dir=${dir}`),
  files: ({ dir, port, keytab, principal }) => ({
    "httpfs-site": {
      "httpfs.http.port": String(port),
      "httpfs.http.hostname": HOST,
      "httpfs.hadoop.config.dir": dir,
      "httpfs.authentication.type": "kerberos",
      "httpfs.authentication.kerberos.principal": principal("HTTP"),
      "httpfs.authentication.kerberos.keytab": keytab,
      "httpfs.authentication.signature.secret.file": join(dir, "secret"),
      "httpfs.hadoop.authentication.type": "kerberos",
      "httpfs.hadoop.authentication.kerberos.principal": principal("httpfs"),
      "httpfs.hadoop.authentication.kerberos.keytab": keytab,
      "httpfs.authentication.delegation-token.renew-interval.sec": String(lives.renewIntervalSec),
      "httpfs.authentication.delegation-token.max-lifetime.sec": String(lives.maxLifetimeSec),
      "httpfs.proxyuser.etl.hosts": "*",
      "httpfs.proxyuser.etl.groups": "*",
    },
  }),
});

const RESOURCE_MANAGER = (lives: TokenLives): Recipe => ({
  main: "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager",
  // Its interface answers before it has a key to sign tokens with.
  ready: "Transitioned to active state",
  files: ({ port, keytab, principal }) => ({
    "yarn-site": {
      "yarn.resourcemanager.webapp.address": `${HOST}:${port}`,
      "yarn.resourcemanager.principal": principal("rm"),
      "yarn.resourcemanager.keytab": keytab,
      "yarn.resourcemanager.webapp.spnego-principal": principal("HTTP"),
      "yarn.resourcemanager.webapp.spnego-keytab-file": keytab,
      "yarn.resourcemanager.delegation.token.renew-interval": String(lives.renewIntervalSec * 1000),
      "yarn.resourcemanager.delegation.token.max-lifetime": String(lives.maxLifetimeSec * 1000),
      ...Object.fromEntries(
        ["", "scheduler.", "resource-tracker.", "admin."].map((which) => [
          `yarn.resourcemanager.${which}address`,
          `${HOST}:0`,
        ]),
      ),
    },
    "capacity-scheduler": {
      "yarn.scheduler.capacity.root.queues": "default",
      "yarn.scheduler.capacity.root.default.capacity": "100",
    },
  }),
});

const RECIPES = { kms: KMS, httpfs: HTTPFS, yarn: RESOURCE_MANAGER } as const;

/** Keys of everything that is started here, in one file: to write another would make new keys. */
export const serverKeytab = (realm: TestRealm): Promise<string> =>
  realm.keytab(
    "services.keytab",
    ...["HTTP", "httpfs", "rm"].map((which) => `${which}/${HOST}@${realm.name}`),
  );

/** Starts one; resolves once its port answers. @param keytab as `serverKeytab` makes it. */
export async function startService(
  kind: keyof typeof RECIPES,
  realm: TestRealm,
  keytab: string,
  lives: TokenLives,
): Promise<TestService> {
  const jars = await hadoopJars();
  const dir = mkdtempSync(join(tmpdir(), `evergrant-${kind}-`));
  const port = await freePort();
  const principal = (which: string): string => `${which}/${HOST}@${realm.name}`;
  const recipe = RECIPES[kind](lives);
  const place = { dir, port, keytab, principal };
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "secret"), randomBytes(32).toString("hex"));
  const core: Settings = {
    "hadoop.security.authentication": "kerberos",
    "hadoop.security.authorization": "true",
    "hadoop.proxyuser.etl.hosts": "*",
    "hadoop.proxyuser.etl.groups": "*",
    "hadoop.user.group.static.mapping.overrides": "etl=etl;alice=alice;rm=rm;httpfs=httpfs;",
    "hadoop.http.filter.initializers": "org.apache.hadoop.security.AuthenticationFilterInitializer",
    "hadoop.http.authentication.type": "kerberos",
    "hadoop.http.authentication.kerberos.principal": principal("HTTP"),
    "hadoop.http.authentication.kerberos.keytab": keytab,
    "hadoop.http.authentication.signature.secret.file": join(dir, "secret"),
  };
  for (const [file, settings] of Object.entries({ "core-site": core, ...recipe.files(place) })) {
    writeFileSync(join(dir, `${file}.xml`), siteXml(settings));
  }
  writeFileSync(
    join(dir, "log4j.properties"),
    "log4j.rootLogger=INFO,err\nlog4j.appender.err=org.apache.log4j.ConsoleAppender\nlog4j.appender.err.target=System.err\nlog4j.appender.err.layout=org.apache.log4j.PatternLayout\nlog4j.appender.err.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n\n",
  );
  const logFile = join(dir, "server.log");
  const server = startForeground(
    "java",
    [
      "-Xmx300m",
      "-XX:+UseSerialGC",
      "-XX:TieredStopAtLevel=1",
      "-Djava.net.preferIPv4Stack=true",
      `-Djava.security.krb5.conf=${realm.krb5Config}`,
      `-Dlog4j.configuration=file:${dir}/log4j.properties`,
      "--add-opens=java.base/java.lang=ALL-UNNAMED",
      ...(recipe.properties?.(place) ?? []),
      "-cp",
      `${dir}:${jars}/*`,
      recipe.main,
    ],
    { logFile },
  );
  const url = `http://${HOST}:${port}`;
  let dead = false;
  void server.gone.then(() => {
    dead = true;
  });
  const { ready = "" } = recipe;
  await eventually(async () => dead || (server.log().includes(ready) && (await answers(url))));
  if (dead) throw new Error(server.log().slice(-4000));
  return {
    url,
    log: server.log,
    async remove() {
      await server.end("SIGKILL");
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function answers(url: string): Promise<boolean> {
  try {
    await fetch(url, { redirect: "manual" });
    return true;
  } catch {
    return false;
  }
}

const siteXml = (settings: Settings): string =>
  `<configuration>\n${Object.entries(settings)
    .map(([name, value]) => `<property><name>${name}</name><value>${value}</value></property>`)
    .join("\n")}\n</configuration>\n`;
