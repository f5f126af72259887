/** A real KDC and a real kerberised HDFS, with Hadoop's own client on the other side. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { readTokenStorage } from "../../src/protocol/hadoop/token-storage.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { type Agent, startAgent } from "../../src/worker-agent/agent.ts";
import { startJobRig } from "../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { FS_SHELL, startHdfs, type TestHdfs } from "./support/hdfs.ts";
import { startRealm, type TestRealm } from "./support/kdc.ts";

const RENEW_MS = 12_000;
const MAX_MS = 36_000;
/** Calls to a NameNode may take longer than the short leases of other tests allow. */
const TIMING = "timing: {beatSec: 1, lostSec: 4, reconcileSec: 2, retryFirstSec: 1}";

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

/** One provider with one NameNode, as YAML. */
const lake = (more = ""): string =>
  `  - {name: lake, kind: hadoop, callTimeoutSec: 10, principal: etl@A.TEST, keytab: ${keytab}, krb5Config: ${realm.krb5Config}, services: [{name: nn, kind: webhdfs, url: "${hdfs.nameNodes[0]?.webUrl}"${more}}]}`;

async function tokenAgent(joinFile: string): Promise<{ agent: Agent; tokenFile: string }> {
  const dir = mkdtempSync(join(tmpdir(), "evergrant-agent-"));
  const tokenFile = join(dir, "tokens");
  const agent = await startAgent({
    joinFile,
    config: {
      stateDir: join(dir, "state"),
      receivers: [{ kind: "hadoop-token-file", provider: "lake", path: tokenFile }],
    },
  });
  onTestFinished(async () => {
    await agent.close();
    rmSync(dir, { recursive: true, force: true });
  });
  await agent.ready(30_000);
  return { agent, tokenFile };
}

const identifiers = (tokenFile: string): string[] =>
  [...readTokenStorage(readFileSync(tokenFile)).tokens.values()].map(({ identifier }) =>
    Buffer.from(identifier).toString("hex"),
  );

describe("HDFS RPC with a token file alone", () => {
  test("lists, writes and reads past the first token's maximum lifetime, and is refused once the job has ended", async () => {
    const rig = await startJobRig({ nats, redis, yaml: TIMING, providers: [lake()] });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const { tokenFile } = await tokenAgent(coordinator.joinFile);
    const begun = systemClock.now().mono;
    const seen = new Set(identifiers(tokenFile));
    const content = join(hdfs.dir, "content.txt");
    let rounds = 0;
    while (systemClock.now().mono - begun < MAX_MS + RENEW_MS) {
      rounds += 1;
      writeFileSync(content, `round ${rounds}`);
      const file = `/round-${rounds}`;
      const put = await hdfs.withTokens(tokenFile, FS_SHELL, "-put", content, file);
      expect(put, put.stderr).toMatchObject({ status: 0 });
      const list = await hdfs.withTokens(tokenFile, FS_SHELL, "-ls", "/");
      expect(list.stdout).toMatch(new RegExp(`etl .* ${file}\n`));
      const read = await hdfs.withTokens(tokenFile, FS_SHELL, "-cat", file);
      expect(read, read.stderr).toMatchObject({ status: 0, stdout: `round ${rounds}` });
      for (const identifier of identifiers(tokenFile)) seen.add(identifier);
    }
    expect(rounds).toBeGreaterThan(3);
    expect(seen.size).toBeGreaterThan(1);
    const kept = join(hdfs.dir, "kept-by-somebody");
    copyFileSync(tokenFile, kept);
    await coordinator.end();
    const refused = await hdfs.withTokens(kept, FS_SHELL, "-ls", "/");
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toMatch(/InvalidToken|can't be found in cache/);
    expect(realm.clients()).toEqual(
      new Set([...realm.clients()].filter((who) => /^(etl|nn|dn|HTTP)\b/.test(who))),
    );
  });
});
