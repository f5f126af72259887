/** Two kerberised clusters in two realms, and one job for both. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startJobRig } from "../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { FS_SHELL, startHdfs, type TestHdfs } from "./support/hdfs.ts";
import { krb5Conf, startRealm, type TestRealm, trust } from "./support/kdc.ts";
import { HADOOP_TIMING, tokenAgent } from "./support/token-agent.ts";

let nats: TestServer;
let redis: TestServer;
let realms: readonly [TestRealm, TestRealm];
let clusters: readonly [TestHdfs, TestHdfs];

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
  realms = await Promise.all([startRealm("A.TEST"), startRealm("B.TEST")]);
  const [a, b] = realms;
  const lives = { renewIntervalMs: 20_000, maxLifetimeMs: 60_000 };
  clusters = [
    await startHdfs({ realm: a, ...lives }),
    await startHdfs({
      realm: b,
      ...lives,
      settings: { "hadoop.security.auth_to_local": "RULE:[1:$1@$0](.*@A.TEST)s/@.*//\nDEFAULT" },
    }),
  ];
});
afterAll(async () => {
  await Promise.all((clusters ?? []).map((cluster) => cluster.remove()));
  await Promise.all((realms ?? []).map((realm) => realm.remove()));
});

test("one job holds tokens of two clusters whose realms do not trust each other", async () => {
  const [a, b] = realms;
  const keytabs = [
    await a.keytab("etl.keytab", "etl@A.TEST"),
    await b.keytab("other.keytab", "other@B.TEST"),
  ];
  const service = (at: 0 | 1, principal: string): string =>
    `{name: ${at === 0 ? "a" : "b"}, kind: webhdfs, url: "${clusters[at].nameNodes[0]?.webUrl}", principal: ${principal}, keytab: ${keytabs[at]}, krb5Config: ${realms[at].krb5Config}}`;
  const provider = `  - {name: lake, kind: hadoop, callTimeoutSec: 10, services: [${service(0, "etl@A.TEST")}, ${service(1, "other@B.TEST")}]}`;
  const rig = await startJobRig({ nats, redis, yaml: HADOOP_TIMING, providers: [provider] });
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const agent = await tokenAgent(coordinator.joinFile);
  // A cluster that is slow to answer is no reason to keep the other's token back: then there are two bundles.
  await eventually(() => agent.aliases().length === 2);
  const content = join(rig.dir, "content");
  writeFileSync(content, "x");
  for (const [at, owner] of [
    [0, "etl"],
    [1, "other"],
  ] as const) {
    const cluster = clusters[at];
    const made = await cluster.withTokens(agent.tokenFile, FS_SHELL, "-touchz", "/mine");
    expect(made, made.stderr).toMatchObject({ status: 0 });
    const { stdout } = await cluster.withTokens(agent.tokenFile, FS_SHELL, "-ls", "/mine");
    expect(stdout).toMatch(new RegExp(`${owner} .* /mine\n`));
  }
  expect(a.clients().has("other@B.TEST")).toBe(false);
  expect(b.clients().has("etl@A.TEST")).toBe(false);
  await coordinator.end();
});

test("a principal of one realm gets tokens in the other once that trusts it, and not before", async () => {
  const [a, b] = realms;
  const keytab = await a.keytab("cross.keytab", "cross@A.TEST");
  const krb5Config = join(a.dir, "both.krb5.conf");
  writeFileSync(krb5Config, krb5Conf("A.TEST", realms, { localhost: "B.TEST" }));
  const provider = `  - {name: lake, kind: hadoop, callTimeoutSec: 10, principal: cross@A.TEST, keytab: ${keytab}, krb5Config: ${krb5Config}, services: [{name: b, kind: webhdfs, url: "${clusters[1].nameNodes[0]?.webUrl}"}]}`;
  const yaml = `${HADOOP_TIMING.slice(0, -1)}, retryMaxSec: 2}`;
  const rig = await startJobRig({ nats, redis, yaml, providers: [provider] });
  const coordinator = await rig.coordinator();
  await eventually(() => rig.logs.some((line) => line.includes("ISSUER_REQUEST_INVALID")));
  await trust(a, b);
  await coordinator.ready();
  const agent = await tokenAgent(coordinator.joinFile);
  const made = await clusters[1].withTokens(agent.tokenFile, FS_SHELL, "-touchz", "/crossed");
  expect(made, made.stderr).toMatchObject({ status: 0 });
  const { stdout } = await clusters[1].withTokens(agent.tokenFile, FS_SHELL, "-ls", "/crossed");
  expect(stdout).toMatch(/cross .* \/crossed\n/);
  expect(b.clients().has("cross@A.TEST")).toBe(true);
  await coordinator.end();
});
