/** A real Spark job on a real kerberised HDFS: executors with a token file, no keytab and no ticket. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startJobRig } from "../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { startHdfs, type TestHdfs } from "./support/hdfs.ts";
import { startRealm, type TestRealm } from "./support/kdc.ts";
import { sparkTools, type TestSpark } from "./support/spark.ts";
import { HADOOP_TIMING, tokenAgent } from "./support/token-agent.ts";

const RENEW_MS = 15_000;
const MAX_MS = 40_000;

let nats: TestServer;
let redis: TestServer;
let realm: TestRealm;
let hdfs: TestHdfs;
let spark: TestSpark;

beforeAll(async () => {
  spark = await sparkTools();
  [nats, redis, realm] = await Promise.all([startNats(), startRedis(), startRealm("A.TEST")]);
  hdfs = await startHdfs({ realm, renewIntervalMs: RENEW_MS, maxLifetimeMs: MAX_MS });
});
afterAll(async () => {
  await hdfs?.remove();
  await realm?.remove();
});

async function runJob(name: string, seconds: number, conf: Readonly<Record<string, string>>) {
  const keytab = await realm.keytab(`${name}.keytab`, "etl@A.TEST");
  const provider = `  - {name: lake, kind: hadoop, callTimeoutSec: 10, principal: etl@A.TEST, keytab: ${keytab}, krb5Config: ${realm.krb5Config}, services: [{name: nn, kind: webhdfs, url: "${hdfs.nameNodes[0]?.webUrl}"}]}`;
  // Half of a token's life is left at its renewal: executors look for a new one each second.
  const options = { ratio: 0.5, yaml: HADOOP_TIMING, providers: [provider] };
  const rig = await startJobRig({ nats, redis, ...options });
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const { tokenFile } = await tokenAgent(coordinator.joinFile);
  const done = await spark.run({ hdfs, tokenFile, folder: `/${name}`, seconds, conf });
  await coordinator.end();
  return done;
}

test("reads and writes for three times the maximum lifetime on two executors with no failed task", async () => {
  const seconds = (3 * MAX_MS) / 1000;
  const plugin = { "spark.plugins": "dev.evergrant.spark.TokenFilePlugin" };
  const { status, stdout, stderr } = await runJob("with-plugin", seconds, plugin);
  expect(status, `${stdout}${stderr.slice(-4000)}`).toBe(0);
  const [, rounds, failedTasks, executors] =
    /rounds=(\d+) failedTasks=(\d+) executors=(\d+)/.exec(stdout) ?? [];
  expect(Number(rounds)).toBeGreaterThan(8);
  expect({ failedTasks, executors }).toEqual({ failedTasks: "0", executors: "2" });
  expect(realm.clients()).toEqual(
    new Set([...realm.clients()].filter((who) => /^((nn|dn|HTTP)\/|etl@)/.test(who))),
  );
});

test("fails without the plugin, since a JVM reads the file only once", async () => {
  const { status, stdout, stderr } = await runJob("without-plugin", (2 * MAX_MS) / 1000, {});
  expect(status, stdout).not.toBe(0);
  expect(stderr).toMatch(/InvalidToken|can't be found in cache|is expired/);
});
