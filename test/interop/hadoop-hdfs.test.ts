/** A real KDC and a real kerberised HDFS, with Hadoop's own client on the other side. */
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { eventually } from "../support/eventually.ts";
import { type JobRig, startJobRig } from "../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { FS_SHELL, startHdfs, type TestHdfs } from "./support/hdfs.ts";
import { startRealm, type TestRealm } from "./support/kdc.ts";
import { HADOOP_TIMING, tokenAgent, watchForEmptiness } from "./support/token-agent.ts";

const RENEW_MS = 20_000;
const MAX_MS = 60_000;

let nats: TestServer;
let redis: TestServer;
let realm: TestRealm;
let hdfs: TestHdfs;
let keytab: string;

beforeAll(async () => {
  [nats, redis, realm] = await Promise.all([startNats(), startRedis(), startRealm("A.TEST")]);
  keytab = await realm.keytab("etl.keytab", "etl@A.TEST");
  hdfs = await startHdfs({ realm, renewIntervalMs: RENEW_MS, maxLifetimeMs: MAX_MS });
});
afterAll(async () => {
  await hdfs?.remove();
  await realm?.remove();
});

interface LakeOptions {
  /** Default `etl`. */
  readonly user?: string;
  /** Further fields of the service. */
  readonly more?: string;
}

/** A job with one provider, `lake`, of one NameNode. */
async function job({ user = "etl", more = "" }: LakeOptions = {}): Promise<JobRig> {
  const path = user === "etl" ? keytab : await realm.keytab(`${user}.keytab`, `${user}@A.TEST`);
  const service = `{name: nn, kind: webhdfs, url: "${hdfs.nameNodes[0]?.webUrl}"${more}}`;
  const provider = `  - {name: lake, kind: hadoop, callTimeoutSec: 10, principal: ${user}@A.TEST, keytab: ${path}, krb5Config: ${realm.krb5Config}, services: [${service}]}`;
  // Half of a token's life is left at its renewal, for a KDC that is away and a machine that stands still.
  return startJobRig({ nats, redis, ratio: 0.5, yaml: HADOOP_TIMING, providers: [provider] });
}

describe("HDFS RPC with a token file alone", () => {
  test("lists, writes and reads past the first token's maximum lifetime, and is refused once the job has ended", async () => {
    const rig = await job();
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await tokenAgent(coordinator.joinFile);
    const { tokenFile } = agent;
    const begun = systemClock.now().mono;
    const seen = new Set(agent.identifiers());
    const content = join(hdfs.dir, "content.txt");
    let rounds = 0;
    // A round is three JVMs: on a slow machine a few of them take longer than the lives do.
    while (systemClock.now().mono - begun < MAX_MS + RENEW_MS || rounds < 4) {
      rounds += 1;
      writeFileSync(content, `round ${rounds}`);
      const file = `/round-${rounds}`;
      const put = await hdfs.withTokens(tokenFile, FS_SHELL, "-put", content, file);
      expect(put, put.stderr).toMatchObject({ status: 0 });
      const list = await hdfs.withTokens(tokenFile, FS_SHELL, "-ls", "/");
      expect(list.stdout).toMatch(new RegExp(`etl .* ${file}\n`));
      const read = await hdfs.withTokens(tokenFile, FS_SHELL, "-cat", file);
      expect(read, read.stderr).toMatchObject({ status: 0, stdout: `round ${rounds}` });
      for (const identifier of agent.identifiers()) seen.add(identifier);
    }
    expect(seen.size).toBeGreaterThan(1);
    const kept = join(hdfs.dir, "kept-by-somebody");
    copyFileSync(tokenFile, kept);
    await coordinator.end();
    const refused = await hdfs.withTokens(kept, FS_SHELL, "-ls", "/");
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toMatch(/InvalidToken|can't be found in cache/);
    const servers = [...realm.clients()].filter((who) => /^(nn|dn|HTTP)\//.test(who));
    expect(realm.clients()).toEqual(new Set([...servers, "etl@A.TEST"]));
  });

  test("acts as the proxy user, whose name is on the file", async () => {
    const rig = await job({ more: ", doAs: alice" });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const { tokenFile } = await tokenAgent(coordinator.joinFile);
    const content = join(hdfs.dir, "of-alice.txt");
    writeFileSync(content, "hers");
    await hdfs.withTokens(tokenFile, FS_SHELL, "-put", content, "/of-alice");
    const { stdout } = await hdfs.withTokens(tokenFile, FS_SHELL, "-ls", "/of-alice");
    expect(stdout).toMatch(/alice .* \/of-alice\n/);
    await coordinator.end();
  });

  test("a proxy user that the cluster does not allow is denied, and the coordinator says so and goes on", async () => {
    const rig = await job({ user: "mallory", more: ", doAs: alice" });
    const coordinator = await rig.coordinator();
    await eventually(() => rig.logs.some((line) => line.includes("ISSUER_DENIED")));
    await coordinator.end();
  });
});

describe("the KDC", () => {
  test("is asked by the coordinator only, as often with 50 agents as with 1", async () => {
    const asked: number[] = [];
    for (const agents of [1, 50]) {
      const before = realm.requestsOf("etl@A.TEST");
      const rig = await job();
      const coordinator = await rig.coordinator();
      await coordinator.ready();
      const joined = await Promise.all(Array.from({ length: agents }, () => rig.agent()));
      const ends = (): number[] => joined.map((agent) => agent.current("lake")?.expiresAt ?? 0);
      await eventually(() => !ends().includes(0));
      const first = Math.max(...ends());
      await eventually(() => ends().every((end) => end > first));
      await coordinator.end();
      asked.push(realm.requestsOf("etl@A.TEST") - before);
    }
    expect(asked[0]).toBeGreaterThan(0);
    expect(asked[1]).toBe(asked[0]);
  });

  test("may be away while a ticket ends: the login is tried again, and nobody is without a token", async () => {
    const user = "brief";
    const rig = await job({ user });
    await realm.admin("-q", `modprinc -maxlife 20seconds ${user}@A.TEST`);
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await tokenAgent(coordinator.joinFile);
    const gap = watchForEmptiness(agent);
    const logins = realm.requestsOf(`${user}@A.TEST`);
    await realm.stop();
    await eventually(() => rig.logs.some((line) => line.includes("ISSUER_UNAVAILABLE")));
    await realm.start();
    await eventually(() => realm.requestsOf(`${user}@A.TEST`) > logins);
    await agent.rewritten(2);
    expect(gap.stop()).toBe(0);
    const list = await hdfs.withTokens(agent.tokenFile, FS_SHELL, "-ls", "/");
    expect(list, list.stderr).toMatchObject({ status: 0 });
    await coordinator.end();
  });
});
