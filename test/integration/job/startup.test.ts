/** Servers that are away, too old or wrong at the start: plain words, and nothing left behind. */

import { writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { seconds } from "../../../src/protocol/time.ts";
import { eventually } from "../../support/eventually.ts";
import { generationAt, startJobRig } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

/** A server that says INFO with this version, and answers every PING. */
async function natsOfVersion(version: string): Promise<{ url: string; stop(): void }> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    const info = {
      server_id: "N",
      version,
      proto: 1,
      headers: true,
      max_payload: 1_048_576,
      jetstream: true,
    };
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on("data", (bytes) => {
      if (bytes.toString("latin1").includes("PING\r\n")) socket.write("PONG\r\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `nats://127.0.0.1:${port}`, stop: () => void server.close() };
}

const storesAt = (nats: string, redis: TestServer): string =>
  `nats: {servers: ["${nats}"]}\nredis: {url: "${redis.url}"}`;

describe("NATS", () => {
  it("that is away at the start is waited for, with a message, and used once it is there", async () => {
    const [nats, redis] = await Promise.all([startNats(), startRedis()]);
    await nats.stop();
    const rig = await startJobRig({ nats, redis, lifetimeMs: 60_000 });
    const starting = rig.coordinator();
    await eventually(() => rig.logs.some((line) => line.includes("waiting for NATS")));
    expect(rig.issued()).toBe(0);
    await nats.restart();
    await (await starting).ready();
    expect(rig.issued()).toBe(1);
  });

  it("that stays away fails the start after its timeout, naming the address; nothing was issued", async () => {
    const [nats, redis] = await Promise.all([startNats(), startRedis()]);
    await nats.stop();
    const rig = await startJobRig({ nats, redis });
    await expect(rig.coordinator({ startTimeout: seconds(1.5) })).rejects.toMatchObject({
      code: "START_TIMEOUT",
      message: expect.stringContaining(nats.url),
    });
    expect(rig.sts.count()).toBe(0);
  });

  it("that is too old, or has no JetStream, is refused at once with both versions or the cure", async () => {
    const redis = await startRedis();
    const old = await natsOfVersion("2.2.0");
    const bare = await startNats({ jetstream: false });
    for (const [url, words] of [
      [old.url, /nats-server 2\.2\.0 is too old: 2\.9 or newer/],
      [bare.url, /no JetStream: enable it/],
    ] as const) {
      const rig = await startJobRig({ nats: bare, redis, stores: storesAt(url, redis) });
      await expect(rig.coordinator()).rejects.toMatchObject({
        code: "BROKER_UNFIT",
        message: expect.stringMatching(words),
      });
      expect(rig.sts.count()).toBe(0);
    }
    old.stop();
  });
});

describe("a file that the configuration names and that is not there", () => {
  it("ends the start by its name when it is a login, and is the reason on /readyz when a provider needs it", async () => {
    const [nats, redis] = await Promise.all([startNats(), startRedis()]);
    const servers = `servers: ["${nats.url}"]`;
    const login = await startJobRig({
      nats,
      redis,
      stores: `nats: {${servers}, credsFile: none.creds}\nredis: {url: "${redis.url}"}`,
    });
    await expect(login.coordinator()).rejects.toMatchObject({
      code: "FILE_UNUSABLE",
      message: expect.stringContaining(join(login.dir, "none.creds")),
    });
    const rig = await startJobRig({ nats, redis, lifetimeMs: 60_000 });
    rig.configure([
      `  - {name: lake, kind: aws-sts, action: AssumeRole, roleArn: "arn:aws:iam::123456789012:role/lake", region: eu-west-1, endpoint: "${rig.sts.url}", policyFile: none.json, callTimeoutSec: 3}`,
    ]);
    const coordinator = await rig.coordinator();
    await eventually(
      () => coordinator.status().providers[0]?.lastError?.code === "PROVIDER_INPUT_MISSING",
    );
    const ready = await fetch(`${coordinator.statusUrl}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([
      503,
      expect.stringContaining(join(rig.dir, "none.json")),
    ]);
    expect(rig.sts.count()).toBe(0);
    await writeFile(
      join(rig.dir, "none.json"),
      '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}',
    );
    await coordinator.ready();
  });
});

describe("Redis", () => {
  it("that may evict keys is warned about, and the job runs", async () => {
    const [nats, redis] = await Promise.all([
      startNats(),
      startRedis({ extra: ["maxmemory-policy allkeys-lru"] }),
    ]);
    const rig = await startJobRig({ nats, redis, lifetimeMs: 6000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    await eventually(() =>
      rig.logs.some((line) => line.includes('"warn"') && line.includes("noeviction")),
    );
    expect(rig.logs.find((line) => line.includes("noeviction"))).toContain("allkeys-lru");
    await generationAt(await rig.agent(), 2);
  });

  it("that is away at the start does not hold up the first credential, and is said to be away", async () => {
    const [nats, redis] = await Promise.all([startNats(), startRedis()]);
    await redis.stop();
    const rig = await startJobRig({ nats, redis, lifetimeMs: 8000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    // The second one lives to the end, however long Redis takes to be found again.
    rig.sts.knobs.lifetimeMs = 600_000;
    await eventually(() => coordinator.status().warnings.some((w) => w.includes("Redis is away")));
    await generationAt(await rig.agent(), 2);
    await redis.restart();
    await eventually(() => coordinator.status().warnings.every((w) => !w.includes("Redis")));
    expect(rig.issued()).toBe(2);
  });
});
