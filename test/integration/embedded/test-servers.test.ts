import { readFileSync } from "node:fs";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { natsInfo, redisProcessId } from "../../../src/embedded/answers.ts";
import { startNats, startRedis } from "../../support/servers.ts";
import { makeTls } from "../../support/tls.ts";

describe("servers for tests", () => {
  test("a NATS server holds a user to the permissions it was given", async () => {
    const server = await startNats({
      users: [
        { user: "all", password: "p1" },
        {
          user: "mute",
          password: "p2",
          permissions: { publish: { allow: [] }, subscribe: { allow: ["a.>"] } },
        },
      ],
    });
    const all = await connect({ servers: server.url, user: "all", pass: "p1" });
    const manager = await jetstreamManager(all);
    await manager.streams.add({ name: "S", subjects: ["s.>"] });
    const mute = await connect({ servers: server.url, user: "mute", pass: "p2" });
    const refused = (async () => {
      for await (const status of mute.status()) if (status.type === "error") return status.error;
      return undefined;
    })();
    mute.publish("a.b", "x");
    await mute.flush();
    expect((await refused)?.name).toBe("PermissionViolationError");
    await mute.close();
    await all.close();

    await server.restart();
    const again = await connect({ servers: server.url, user: "all", pass: "p1" });
    expect((await (await jetstreamManager(again)).streams.info("S")).config.name).toBe("S");
    await again.close();

    await server.wipe();
    const fresh = await connect({ servers: server.url, user: "all", pass: "p1" });
    expect((await (await jetstreamManager(fresh)).getAccountInfo()).streams).toBe(0);
    await fresh.close();
    await server.kill();
    expect(await natsInfo(server.port)).toBeUndefined();
  });

  test("a Redis server keeps its data over kill and restart, and nothing over wipe", async () => {
    const server = await startRedis({ password: "pw" });
    const set = new Redis(server.url);
    await set.set("k", "v");
    await set.config("SET", "appendfsync", "always");
    await set.set("k", "v");
    await set.quit();
    await server.kill();
    expect(server.pid()).toBeUndefined();
    await server.restart();
    const get = new Redis(server.url);
    expect(await get.get("k")).toBe("v");
    await get.quit();
    server.freeze();
    expect(await redisProcessId({ port: server.port, password: "pw" })).toBeUndefined();
    server.thaw();
    expect(await redisProcessId({ port: server.port, password: "pw" })).toBe(server.pid());
    expect(await redisProcessId({ port: server.port, password: "wrong" })).toBeUndefined();
    await server.wipe();
    const empty = new Redis(server.url);
    expect(await empty.dbsize()).toBe(0);
    await empty.quit();
  });

  test("TLS variants are trusted by their own authority only, and ask for client certificates on demand", async () => {
    const tls = makeTls();
    const nats = await startNats({ tls, verifyClients: true });
    const redis = await startRedis({ tls, password: "pw" });
    const { caFile, clientCertFile: certFile, clientKeyFile: keyFile } = tls;
    const known = await connect({ servers: nats.url, tls: { caFile, certFile, keyFile } });
    await known.flush();
    await known.close();
    await expect(connect({ servers: nats.url, tls: { caFile }, timeout: 1000 })).rejects.toThrow();
    await expect(connect({ servers: nats.url, tls: {}, timeout: 1000 })).rejects.toThrow();
    const client = new Redis(redis.url, { tls: { ca: readFileSync(caFile) } });
    expect(await client.ping()).toBe("PONG");
    await client.quit();
  });
});
