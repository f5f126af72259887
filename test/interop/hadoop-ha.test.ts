/** A real HA pair of NameNodes that changes over in the middle. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startJobRig } from "../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { FS_SHELL, startHdfs, type TestHdfs } from "./support/hdfs.ts";
import { startRealm, type TestRealm } from "./support/kdc.ts";
import { HADOOP_TIMING, tokenAgent, watchForEmptiness } from "./support/token-agent.ts";

let nats: TestServer;
let redis: TestServer;
let realm: TestRealm;
let hdfs: TestHdfs;

beforeAll(async () => {
  [nats, redis, realm] = await Promise.all([startNats(), startRedis(), startRealm("A.TEST")]);
  hdfs = await startHdfs({ realm, renewIntervalMs: 20_000, maxLifetimeMs: 60_000, ha: true });
});
afterAll(async () => {
  await hdfs?.remove();
  await realm?.remove();
});

test("the active NameNode dies and the other takes over: the same token goes on, and then a new one", async () => {
  const keytab = await realm.keytab("etl.keytab", "etl@A.TEST");
  const urls = hdfs.nameNodes.map(({ webUrl }) => `"${webUrl}"`).join(", ");
  const provider = `  - {name: lake, kind: hadoop, callTimeoutSec: 10, principal: etl@A.TEST, keytab: ${keytab}, krb5Config: ${realm.krb5Config}, services: [{name: nn, kind: webhdfs, urls: [${urls}], nameservice: ${hdfs.nameservice}}]}`;
  const rig = await startJobRig({ nats, redis, yaml: HADOOP_TIMING, providers: [provider] });
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const agent = await tokenAgent(coordinator.joinFile);
  expect(agent.aliases()).toEqual(["ha-hdfs:ns1", "ha-webhdfs:ns1"]);
  const gap = watchForEmptiness(agent);
  const first = agent.identifiers();
  // Just renewed, so that a whole life is left for the other one to become active.
  const [before] = await Promise.all([
    hdfs.withTokens(agent.tokenFile, FS_SHELL, "-touchz", "/before"),
    agent.rewritten(1),
  ]);
  expect(before, before.stderr).toMatchObject({ status: 0 });
  expect(agent.identifiers()).toEqual(first);

  await hdfs.nameNodes[0]?.kill();
  await hdfs.activate("nn2");
  await agent.rewritten(1);
  expect(agent.identifiers()).toEqual(first);
  const after = await hdfs.withTokens(agent.tokenFile, FS_SHELL, "-touchz", "/after");
  expect(after, after.stderr).toMatchObject({ status: 0 });

  // The old active comes back as a standby, and answers first where it is asked first.
  await hdfs.nameNodes[0]?.start();
  while (agent.identifiers().join() === first.join()) await agent.rewritten(1);
  const list = await hdfs.withTokens(agent.tokenFile, FS_SHELL, "-ls", "/");
  expect(list.stdout).toMatch(/\/after\n/);
  expect(gap.stop()).toBe(0);
  await coordinator.end();
});
