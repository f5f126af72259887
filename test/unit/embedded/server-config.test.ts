import { expect, test } from "vitest";
import { atLeast, parseVersion, searchFolders } from "../../../src/embedded/find-server.ts";
import { natsConfig } from "../../../src/embedded/nats-config.ts";
import { redisConfig } from "../../../src/embedded/redis-config.ts";

const nats = { version: [2, 9, 10], port: 1, serverName: "n", users: [] } as const;

test("only servers from 2.10 on are told to sync each write, since 2.9 refuses the setting", () => {
  const storeDir = "/a b/data";
  expect(natsConfig({ ...nats, storeDir })).toContain('jetstream: {"store_dir":"/a b/data"}\n');
  expect(natsConfig({ ...nats, storeDir, version: [2, 10, 0] })).toContain(
    'jetstream: {"store_dir":"/a b/data","sync_interval":"always"}\n',
  );
  expect(natsConfig(nats)).not.toContain("jetstream");
});

test("an empty list of subjects allows nothing, and a missing one everything", () => {
  const config = natsConfig({
    ...nats,
    users: [
      { user: "a", password: "p" },
      {
        user: "b",
        password: 'q"\\',
        permissions: {
          publish: { allow: [] },
          subscribe: { allow: ["x.>"] },
        },
      },
    ],
  });
  const line = /^authorization: (.*)$/m.exec(config)?.[1] ?? "";
  expect(JSON.parse(line)).toEqual({
    users: [
      { user: "a", password: "p" },
      {
        user: "b",
        password: 'q"\\',
        permissions: {
          publish: { deny: [">"] },
          subscribe: { allow: ["x.>"] },
        },
      },
    ],
  });
});

test("Redis keeps everything, evicts nothing and listens on loopback only", () => {
  const lines = redisConfig({ version: [7, 0, 15], port: 7, dir: '/a "b"', password: "p" });
  expect(lines.split("\n")).toEqual(
    expect.arrayContaining([
      "bind 127.0.0.1",
      "port 7",
      'dir "/a \\"b\\""',
      "appendonly yes",
      "appendfsync everysec",
      'save ""',
      "maxmemory-policy noeviction",
      'requirepass "p"',
      "set-proc-title no",
    ]),
  );
  expect(redisConfig({ version: [6, 0, 16], port: 7, dir: "/" })).not.toContain("set-proc-title");
});

test("a server's version is read from what each of them says", () => {
  expect(parseVersion("nats-server: v2.9.10\n")).toEqual([2, 9, 10]);
  expect(parseVersion("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0")).toEqual([
    7, 0, 15,
  ]);
  expect(parseVersion("usage")).toBeUndefined();
  expect([
    atLeast([2, 9, 10], 2, 10),
    atLeast([2, 10, 0], 2, 10),
    atLeast([3, 0, 0], 2, 10),
  ]).toEqual([false, true, true]);
});

test("the search goes along PATH, then where PATH often does not lead, then to the unpacked copy", () => {
  const folders = searchFolders({ PATH: "/one:/usr/bin" });
  expect(folders.slice(0, 2)).toEqual(["/one", "/usr/bin"]);
  expect(folders).toContain("/usr/sbin");
  expect(folders.at(-1)).toMatch(/\.evergrant\/servers\/bin$/);
  expect(searchFolders({ PATH: "/one", EVERGRANT_SERVERS: "private" })).toEqual([folders.at(-1)]);
});
