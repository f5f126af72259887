/** A NameNode that dies and comes back. Its tokens live long enough for a restart on a busy machine. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
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
  hdfs = await startHdfs({ realm, renewIntervalMs: 60_000, maxLifetimeMs: 180_000 });
});
afterAll(async () => {
  await hdfs?.remove();
  await realm?.remove();
});

test("killed and restarted, it still knows the token, which is renewed in place without a gap", async () => {
  const [nameNode] = hdfs.nameNodes;
  const keytab = await realm.keytab("etl.keytab", "etl@A.TEST");
  const provider = `  - {name: lake, kind: hadoop, callTimeoutSec: 10, principal: etl@A.TEST, keytab: ${keytab}, krb5Config: ${realm.krb5Config}, services: [{name: nn, kind: webhdfs, url: "${nameNode?.webUrl}"}]}`;
  const rig = await startJobRig({ nats, redis, yaml: HADOOP_TIMING, providers: [provider] });
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const agent = await tokenAgent(coordinator.joinFile);
  const member = await rig.agent();
  const end = (): number => member.current("lake")?.expiresAt ?? 0;
  await eventually(() => end() > 0);
  const [first, before] = [end(), agent.identifiers()];
  const gap = watchForEmptiness(agent);
  await nameNode?.kill();
  await nameNode?.start();
  await eventually(() => end() > first);
  expect(gap.stop()).toBe(0);
  expect(agent.identifiers()).toEqual(before);
  const list = await hdfs.withTokens(agent.tokenFile, FS_SHELL, "-ls", "/");
  expect(list, list.stderr).toMatchObject({ status: 0 });
  await coordinator.end();
});
