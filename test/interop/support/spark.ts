/** Spark itself, from the ordinary registry by way of Maven, with our plugin and a job of its own. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Finished, runProgram } from "./foreground.ts";
import { fetchJars } from "./hadoop-jars.ts";
import type { TestHdfs } from "./hdfs.ts";

const PROJECT = fileURLToPath(new URL("../spark", import.meta.url));
const PLUGIN = fileURLToPath(new URL("../../../deploy/spark", import.meta.url));
const HOME = join(PROJECT, "target", "spark-home");
const JARS = join(HOME, "jars");

/** What Java 17 must open for Spark, as its own launcher does. */
const OPENS = [
  "java.lang",
  "java.lang.invoke",
  "java.lang.reflect",
  "java.io",
  "java.net",
  "java.nio",
  "java.util",
  "java.util.concurrent",
  "java.util.concurrent.atomic",
].map((name) => `--add-opens=java.base/${name}=ALL-UNNAMED`);
OPENS.push(
  "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
  "--add-opens=java.base/sun.nio.cs=ALL-UNNAMED",
  "--add-opens=java.base/sun.security.action=ALL-UNNAMED",
  "--add-opens=java.base/sun.util.calendar=ALL-UNNAMED",
);

export interface TestSpark {
  /** The plugin's jar, as `deploy/spark` builds it. */
  readonly pluginJar: string;
  /** Runs the long job on two executors, with nothing but the token file. */
  run(options: {
    readonly hdfs: TestHdfs;
    readonly tokenFile: string;
    readonly folder: string;
    readonly seconds: number;
    readonly conf: Readonly<Record<string, string>>;
  }): Promise<Finished>;
}

export async function sparkTools(): Promise<TestSpark> {
  await fetchJars(PROJECT, JARS);
  // By this file Spark knows a distribution, whose executors it can start.
  writeFileSync(join(HOME, "RELEASE"), "from Maven\n");
  await must("mvn", "-B", "-q", "-f", join(PLUGIN, "pom.xml"), "package");
  const classes = join(PROJECT, "target", "classes");
  mkdirSync(classes, { recursive: true });
  const source = join(PROJECT, "src/dev/evergrant/interop/LongJob.java");
  await must("javac", "-cp", `${JARS}/*`, "-d", classes, source);
  const pluginJar = join(PLUGIN, "target", "evergrant-spark.jar");

  return {
    pluginJar,
    run({ hdfs, tokenFile, folder, seconds, conf }) {
      const classPath = [hdfs.clientConf, pluginJar, classes].join(":");
      const noKerberos = `-Djava.security.krb5.conf=${join(hdfs.dir, "no-kdc.krb5.conf")}`;
      const settings: Record<string, string> = {
        "spark.master": "local-cluster[2,1,512]",
        "spark.executor.memory": "512m",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.task.maxFailures": "2",
        "spark.executor.extraClassPath": classPath,
        "spark.executor.extraJavaOptions": `${noKerberos} -Djava.net.preferIPv4Stack=true`,
        "spark.security.credentials.hadoopfs.enabled": "false",
        // MapReduce's output formats want to name the ResourceManager as renewer: there is none here.
        "spark.hadoop.mapreduce.job.hdfs-servers.token-renewal.exclude":
          hdfs.nameservice ?? "localhost",
        // Open connections need no token: close them between the rounds.
        "spark.hadoop.ipc.client.connection.maxidletime": "1000",
        ...conf,
      };
      return runProgram(
        "java",
        [
          "-Xmx512m",
          "-Djava.net.preferIPv4Stack=true",
          noKerberos,
          ...OPENS,
          ...Object.entries(settings).map(([name, value]) => `-D${name}=${value}`),
          "-cp",
          `${classPath}:${JARS}/*`,
          "dev.evergrant.interop.LongJob",
          `${hdfs.uri}${folder}`,
          String(seconds),
        ],
        {
          env: {
            SPARK_HOME: HOME,
            SPARK_SCALA_VERSION: "2.13",
            SPARK_LOCAL_IP: "127.0.0.1",
            SPARK_LOCAL_DIRS: join(hdfs.dir, "spark-local"),
            HADOOP_CONF_DIR: hdfs.clientConf,
            HADOOP_TOKEN_FILE_LOCATION: tokenFile,
            KRB5CCNAME: "FILE:/nonexistent",
          },
        },
      );
    },
  };
}

async function must(program: string, ...args: string[]): Promise<void> {
  const { status, stdout, stderr } = await runProgram(program, args);
  if (status !== 0) throw new Error(`${program} failed: ${`${stdout}${stderr}`.slice(0, 3000)}`);
}
