import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import {
  parseRedisUrl,
  redisConfigSchema,
} from "../../../src/coordinator/adapters/redis-config.ts";
import { redisEndpoint, redisFault } from "../../../src/coordinator/adapters/redis-connection.ts";

/** The faults as `path: message`. */
function faults(config: unknown): string[] {
  const parsed = redisConfigSchema.safeParse(config);
  return (parsed.error?.issues ?? []).map(({ path, message }) => `${path.join(".")}: ${message}`);
}

describe("the configuration of Redis", () => {
  test("a URL is enough", () => {
    expect(faults({ url: "redis://localhost" })).toEqual([]);
    expect(
      faults({ url: "rediss://user:p%40ss@redis.example.org:6380/3", caFile: "ca.pem" }),
    ).toEqual([]);
  });

  test("each fault is named, all of them at once, and none quotes the URL", () => {
    const found = faults({
      url: "redis://user:hunter2@host/1",
      username: "other",
      passwordFile: "f",
      caFile: "ca.pem",
      certFile: "c.pem",
      tls: true,
      cluster: true,
    });
    expect(found.map((fault) => fault.split(":")[0])).toEqual([
      "passwordFile",
      "username",
      "url",
      "tls",
      "caFile",
      "certFile",
      "keyFile",
    ]);
    expect(found.join()).not.toContain("hunter2");
  });

  test.each([
    ["not a url", "expected a URL"],
    ["http://host", "expected the scheme"],
    ["redis://", "expected a host"],
    ["redis://host/x", "expected a database number"],
    ["redis://host?db=1", "expected no query"],
    ["redis://:%zz@host", "percent-encoded"],
  ])("%s is refused", (url, message) => {
    expect(faults({ url }).join()).toContain(message);
  });

  test("one of url and sentinel is there", () => {
    const sentinel = { name: "main", nodes: ["one:26379", "[::1]:26379"] };
    expect(faults({})).toEqual([": expected `url` or `sentinel`"]);
    expect(faults({ sentinel, tls: true, caFile: "ca.pem", database: 2 })).toEqual([]);
    expect(faults({ sentinel, url: "redis://host" })).toHaveLength(1);
    expect(faults({ sentinel: { name: "main", nodes: ["one"] } })).toEqual([
      "sentinel.nodes.0: expected host:port",
    ]);
    expect(faults({ url: "redis://host", nonsense: 1 })).toHaveLength(1);
  });

  test("a URL comes apart decoded, with its defaults", () => {
    expect(parseRedisUrl("rediss://a%3Ab:p%40ss@[::1]/2")).toEqual({
      tls: true,
      host: "::1",
      port: 6379,
      username: "a:b",
      password: "p@ss",
      database: 2,
    });
  });

  test("an endpoint shows its address without user and password (I9)", () => {
    const endpoint = redisEndpoint(
      redisConfigSchema.parse({ url: "rediss://user:hunter2@redis.example.org/4" }),
    );
    expect(endpoint.address).toBe("rediss://redis.example.org:6379/4");
    expect(inspect(endpoint, { depth: 9, showHidden: true })).not.toContain("hunter2");
  });

  test("a file that is not there is named at once", () => {
    const config = redisConfigSchema.parse({ url: "redis://host", passwordFile: "/nowhere/pw" });
    expect(() => redisEndpoint(config)).toThrow(
      expect.objectContaining({
        code: "FILE_UNUSABLE",
        message: expect.stringContaining("/nowhere/pw"),
      }),
    );
  });

  test("a fault of Redis tells its code and nothing of the command (I9)", () => {
    const reply = Object.assign(new Error("WRONGPASS invalid username-password pair"), {
      name: "ReplyError",
      command: { name: "auth", args: ["user", "hunter2"] },
    });
    const fault = redisFault(reply, "connecting");
    expect(fault.message).toBe("[QUEUE_UNAVAILABLE] connecting failed (WRONGPASS)");
    expect(inspect(fault, { depth: 9, showHidden: true })).not.toContain("hunter2");
    const refused = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
    expect(redisFault(refused, "connecting").details).toEqual({ reason: "ECONNREFUSED" });
  });
});
