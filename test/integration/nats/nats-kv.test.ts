/** The buckets are made as wanted, and a bucket that differs is refused by name. */
import { jetstreamManager, StorageType } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openBucket } from "../../../src/nats/nats-kv.ts";
import { BUCKET } from "../../../src/protocol/subjects.ts";
import { connectAs, type TestClient } from "../../support/nats-job.ts";
import { startNats, type TestServer } from "../../support/servers.ts";

const id = { tenant: "t", job: "j" };
let server: TestServer;
let client: TestClient;
beforeAll(async () => {
  server = await startNats();
  client = await connectAs(server.url, "coordinator", id, "c", false);
});
afterAll(async () => {
  await client.broker.close();
  await server.kill();
});

it("each bucket is made on disk with its own history, none is read from anywhere but its leader, and only the bundle's is republished", async () => {
  const jsm = await jetstreamManager(client.broker.nc);
  const found: Record<string, unknown> = {};
  for (const kind of ["lease", "state", "bundle"] as const) {
    await openBucket(client.broker, kind);
    await openBucket(client.broker, kind);
    const { config } = await jsm.streams.info(`KV_${BUCKET[kind]}`);
    found[kind] = {
      storage: config.storage,
      history: config.max_msgs_per_subject,
      replicas: config.num_replicas,
      direct: config.allow_direct,
      republish: config.republish?.dest,
    };
  }
  const shared = { storage: "file", replicas: 1, republish: undefined };
  expect(found).toEqual({
    lease: { ...shared, history: 1, direct: false },
    state: { ...shared, history: 5, direct: false },
    bundle: { ...shared, history: 1, direct: false, republish: "evergrant.v1.bundle.>" },
  });
});

it("replicas above 1 are refused on a server below 2.11, before anything is made", async () => {
  await expect(openBucket(client.broker, "lease", { replicas: 3 })).rejects.toMatchObject({
    code: "BROKER_UNFIT",
  });
});

it("a bucket that forgets, or whose bundle is not broadcast, is refused by what differs", async () => {
  const jsm = await jetstreamManager(client.broker.nc);
  const make = async (bucket: string, over: object) => {
    await jsm.streams.delete(`KV_${bucket}`).catch(() => undefined);
    await jsm.streams.add({
      name: `KV_${bucket}`,
      subjects: [`$KV.${bucket}.>`],
      storage: StorageType.File,
      max_msgs_per_subject: 1,
      allow_rollup_hdrs: true,
      ...over,
    });
  };
  await make(BUCKET.lease, { max_age: 60_000_000_000 });
  await expect(openBucket(client.broker, "lease")).rejects.toThrow(/BROKER_UNFIT.*ttl/);
  await make(BUCKET.lease, { storage: StorageType.Memory, allow_direct: true });
  await expect(openBucket(client.broker, "lease")).rejects.toThrow(
    /storage is memory, not file; allow_direct/,
  );
  await make(BUCKET.bundle, {});
  await expect(openBucket(client.broker, "bundle")).rejects.toThrow(/BROKER_UNFIT.*republish/);
});
