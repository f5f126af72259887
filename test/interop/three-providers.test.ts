/** One job with an AWS, a Google and a Hadoop provider, the last on a real KDC and a real KMS (I6). */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type GooglePool, startGooglePool } from "../support/google-pool.ts";
import { startJobRig, watchForGaps } from "../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { serverKeytab, startService, type TestService } from "./support/hadoop-services.ts";
import { startRealm, type TestRealm } from "./support/kdc.ts";

/**
 * Lives of 20 s, 22.5 s and 25 s: renewed after 12 s, 13.5 s and 15 s, so that the second renewals are seconds
 * apart and never one generation, with 8 s left at least.
 */
const RATIO = 0.6;
const AWS_MS = 20_000;
const GOOGLE_MS = 22_500;
const LIVES = { renewIntervalSec: 25, maxLifetimeSec: 75 };
const NAMES = ["lake", "gcs", "hadoop"] as const;

let dir: string;
let realm: TestRealm;
let kms: TestService;
let pool: GooglePool;
let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "evergrant three providers-"));
  [nats, redis, realm] = await Promise.all([startNats(), startRedis(), startRealm("A.TEST")]);
  pool = await startGooglePool(dir, { knobs: { lifetimeMs: GOOGLE_MS } });
  kms = await startService("kms", realm, await serverKeytab(realm), LIVES);
});
afterAll(async () => {
  await kms?.remove();
  await pool?.google.stop();
  await realm?.remove();
  await rm(dir, { recursive: true, force: true });
});

test("each keeps its own schedule, and whoever is denied for good leaves the others untouched", async () => {
  const google = { name: "gcs", kind: "google-wif", callTimeoutSec: 3, ...pool.options() };
  const hadoop = {
    ...{ name: "hadoop", kind: "hadoop", callTimeoutSec: 10, principal: "etl@A.TEST" },
    keytab: await realm.keytab("etl.keytab", "etl@A.TEST"),
    krb5Config: realm.krb5Config,
    services: [{ name: "keys", kind: "kms", url: kms.url, doAs: "alice" }],
  };
  const rig = await startJobRig({
    ...{ nats, redis, lifetimeMs: AWS_MS, ratio: RATIO },
    providers: ["lake", `  - ${JSON.stringify(google)}`, `  - ${JSON.stringify(hadoop)}`],
    yaml: "timing: {beatSec: 1, lostSec: 4, reconcileSec: 2, retryFirstSec: 1}",
  });
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const agent = await rig.agent();
  await eventually(() => NAMES.every((name) => agent.current(name) !== undefined));

  const of = (name: string) =>
    coordinator.status().providers.find(({ provider }) => provider === name);
  /** That all of `names` are renewed, and once more, without a gap and without a failure. */
  async function goOn(names: readonly string[]): Promise<void> {
    const gaps = names.map((name) => watchForGaps(agent, name));
    for (let round = 0; round < 2; round += 1) {
      const before = names.map((name) => of(name)?.generation ?? 0);
      await eventually(() =>
        names.every((name, at) => (of(name)?.generation ?? 0) > (before[at] ?? 0)),
      );
    }
    expect(gaps.map((gap) => gap.stop())).toEqual(names.map(() => 0));
    expect(names.map((name) => of(name)?.consecutiveFailures)).toEqual(names.map(() => 0));
  }

  await goOn(NAMES);
  // A life of its own each, renewed apart from each other.
  const generations = NAMES.map((name) => of(name)?.generation);
  expect(new Set(generations).size).toBe(NAMES.length);

  rig.sts.knobs.deny = true;
  await eventually(() => (of("lake")?.consecutiveFailures ?? 0) > 0);
  await goOn(["gcs", "hadoop"]);

  pool.google.knobs.deny = { operations: ["generateAccessToken"] };
  await eventually(() => (of("gcs")?.consecutiveFailures ?? 0) > 0);
  await goOn(["hadoop"]);

  // What is denied has run out, and nothing expired is handed out in its place (I2).
  await eventually(() => agent.current("lake") === undefined && agent.current("gcs") === undefined);
  expect(agent.current("hadoop")).toBeDefined();
  // Its failures were counted anew from its expiry on; why it fails stays.
  expect(of("lake")?.lastError?.code).toBe("ISSUER_DENIED");
  await coordinator.end();
});
