import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { inspectRedis } from "../../../src/coordinator/adapters/bullmq-queue/inspect-redis.ts";
import { freePort } from "../../../src/embedded/answers.ts";
import { findServer } from "../../../src/embedded/find-server.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { collect, due, ensured, promised } from "../../contract/support/renewal-queue-contract.ts";
import { eventually } from "../../support/eventually.ts";
import { startRedis } from "../../support/servers.ts";
import { makeTls } from "../../support/tls.ts";
import { admin, endpoint, openQueue } from "./support.ts";

const dir = mkdtempSync(join(tmpdir(), "evergrant-test-redis-access-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text, { mode: 0o600 });
  return join(dir, name);
};

/** The ACL rules that docs/redis.md recommends. */
const documentedRules = (): string => {
  const docs = readFileSync(new URL("../../../docs/redis.md", import.meta.url), "utf8");
  const rules = /^ACL SETUSER evergrant on (?:>\S+) (.+)$/m.exec(docs)?.[1];
  if (rules === undefined) throw new Error("docs/redis.md holds no ACL rules");
  return rules;
};

describe("the way into Redis", () => {
  test("over TLS, as the user that the documentation makes, with the password in a file", async () => {
    const tls = makeTls();
    const port = await freePort();
    const server = await startRedis({
      password: "admin",
      extra: [
        `tls-port ${port}`,
        `tls-cert-file ${tls.certFile}`,
        `tls-key-file ${tls.keyFile}`,
        `tls-ca-cert-file ${tls.caFile}`,
        `user evergrant on >hunter2 ${documentedRules()}`,
      ],
    });
    const config = {
      url: `rediss://evergrant@127.0.0.1:${port}`,
      passwordFile: file("password", "hunter2\n"),
      caFile: tls.caFile,
      certFile: tls.clientCertFile,
      keyFile: tls.clientKeyFile,
    };
    const { queue, problems } = openQueue(config);
    const seen = collect(queue, systemClock);
    expect(await ensured(queue, [due("a", 0), due("b", 3_600_000)])).toBe(2);
    await eventually(() => seen.length === 1);
    expect(await ensured(queue, [due("b", 0)])).toBe(1);
    await eventually(() => seen.length === 2);
    expect((await promised<void>((done) => queue.obliterate(done))).ok).toBe(true);
    expect(problems).toEqual([]);
    expect((await inspectRedis(endpoint(config), systemClock)).warnings).toEqual([]);
    // Nothing outside of evergrant's own keys, and nothing that administers.
    const user = `redis://evergrant:hunter2@127.0.0.1:${server.port}`;
    for (const command of [
      ["SET", "other", "1"],
      ["FLUSHALL"],
      ["CONFIG", "SET", "appendonly", "no"],
    ] as const) {
      const [verb, ...args] = command;
      const refused = admin(user, (client) => client.call(verb, ...args));
      await expect(refused).rejects.toThrow("NOPERM");
    }
  });

  test("a server with a certificate of another authority is not trusted", async () => {
    const [theirs, ours] = [makeTls(), makeTls()];
    const port = await freePort();
    await startRedis({
      extra: [
        `tls-port ${port}`,
        `tls-cert-file ${theirs.certFile}`,
        `tls-key-file ${theirs.keyFile}`,
        `tls-ca-cert-file ${theirs.caFile}`,
        "tls-auth-clients no",
      ],
    });
    const url = `rediss://127.0.0.1:${port}`;
    const { queue } = openQueue({ url, caFile: ours.caFile });
    expect(await ensured(queue, [due("a", 0)])).toBe("QUEUE_UNAVAILABLE");
    const trusting = openQueue({ url, caFile: theirs.caFile });
    expect(await ensured(trusting.queue, [due("a", 0)])).toBe(1);
  });

  test("a wrong password lets nobody in, and shows in no error (I9)", async () => {
    const server = await startRedis({ password: "right" });
    const url = `redis://:hunter2@127.0.0.1:${server.port}`;
    const { queue, problems } = openQueue({ url });
    collect(queue, systemClock);
    expect(await ensured(queue, [due("a", 0)])).toBe("QUEUE_UNAVAILABLE");
    expect(problems.map(({ details }) => details["reason"])).toEqual(["WRONGPASS"]);
    const refused = await inspectRedis(endpoint({ url }), systemClock).catch((error) => error);
    expect(refused.code).toBe("QUEUE_UNAVAILABLE");
    const shown = inspect([problems, refused], { depth: 9, showHidden: true });
    expect(shown).not.toContain("hunter2");
    expect(shown + JSON.stringify([problems, refused])).not.toContain("hunter2");
  });

  test("a password that is replaced in its file is used at the next connect", async () => {
    const server = await startRedis({ password: "old" });
    const passwordFile = file("rotated", "old");
    const { queue, problems } = openQueue({
      url: `redis://127.0.0.1:${server.port}`,
      passwordFile,
    });
    const seen = collect(queue, systemClock);
    expect(await ensured(queue, [due("a", 0)])).toBe(1);
    await eventually(() => seen.length === 1);
    let back = false;
    queue.onReconnect(() => {
      back = true;
    });
    await admin(server.url, async (client) => {
      await client.config("SET", "requirepass", "new");
      file("rotated", "new");
      await client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    });
    await eventually(() => back);
    expect(await ensured(queue, [due("b", 0)])).toBe(1);
    await eventually(() => seen.length === 2);
    expect(problems).toHaveLength(1);
  });

  test("a Redis Cluster holds the queue, all of it in one slot", async () => {
    const server = await startRedis({
      extra: ["cluster-enabled yes", "cluster-announce-ip 127.0.0.1"],
    });
    await admin(server.url, async (client) => {
      await client.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
      await eventually(async () => (await client.cluster("INFO")).includes("cluster_state:ok"));
    });
    const { queue } = openQueue({ url: server.url, cluster: true });
    const seen = collect(queue, systemClock);
    expect(await ensured(queue, [due("a", 200), due("b", 3_600_000)])).toBe(2);
    await eventually(() => seen.length === 1);
    expect(await ensured(queue, [due("b", 0)])).toBe(1);
    await eventually(() => seen.length === 2);
    expect((await promised<void>((done) => queue.close(done))).ok).toBe(true);
  });
});

describe("Redis behind Sentinels", () => {
  test("the queue follows the master that the Sentinels name", async () => {
    const [first, second] = [await startRedis(), await startRedis()];
    const port = await freePort();
    const configFile = file(
      "sentinel.conf",
      `port ${port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 ${first.port} 1\n`,
    );
    const { path } = await findServer("redis-server");
    const sentinel = spawn(path, [configFile, "--sentinel"], { stdio: "ignore", cwd: dir });
    try {
      const ask = `redis://127.0.0.1:${port}`;
      const { queue } = openQueue({
        sentinel: { name: "main", nodes: [`127.0.0.1:${port}`] },
      });
      const seen = collect(queue, systemClock);
      await eventually(async () => (await ensured(queue, [due("a", 0)])) !== "QUEUE_UNAVAILABLE");
      await eventually(() => seen.length === 1);
      // The Sentinel is told of another master, which holds nothing; the old one goes away.
      await admin(ask, async (client) => {
        await client.call("SENTINEL", "REMOVE", "main");
        await client.call("SENTINEL", "MONITOR", "main", "127.0.0.1", `${second.port}`, "1");
      });
      let back = false;
      queue.onReconnect(() => {
        back = true;
      });
      await first.kill();
      await eventually(() => back);
      expect(await ensured(queue, [due("b", 0)])).toBe(1);
      await eventually(() => seen.length === 2);
    } finally {
      sentinel.kill();
    }
  });
});

describe("the inspection of Redis", () => {
  test("a fit Redis gives no warning", async () => {
    const server = await startRedis();
    const findings = await inspectRedis(endpoint({ url: server.url }), systemClock);
    expect(findings.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(findings.warnings).toEqual([]);
  });

  test("a Redis that may drop what it holds is warned about", async () => {
    const server = await startRedis({
      extra: ["maxmemory-policy allkeys-lru", "appendonly no"],
    });
    const { warnings } = await inspectRedis(endpoint({ url: server.url }), systemClock);
    expect(warnings.join("\n")).toContain("maxmemory-policy is allkeys-lru");
    expect(warnings.join("\n")).toContain("appendonly is off");
  });

  test("a Redis that is away is told as such", async () => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    await expect(inspectRedis(endpoint({ url }), systemClock)).rejects.toMatchObject({
      code: "QUEUE_UNAVAILABLE",
      details: { reason: "ECONNREFUSED" },
    });
  });

  test.each([
    ["4.0.14", "-NOPERM no\r\n", "BROKER_UNFIT"],
    ["", "-NOPERM no\r\n", "BROKER_UNFIT"],
    ["5.0.14", "-NOPERM no\r\n", ["Redis 5.0.14 is old", "does not tell its maxmemory-policy"]],
    ["6.0.0", "*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n", ["Redis 6.0.0 is old"]],
  ])("version %j, with CONFIG answered %j, yields %j", async (version, config, expected) => {
    const { server, port } = await fakeRedis(version, config);
    const outcome = await inspectRedis(
      endpoint({ url: `redis://127.0.0.1:${port}` }),
      systemClock,
    ).catch((error) => error);
    server.close();
    if (typeof expected === "string") expect(outcome.code).toBe(expected);
    else {
      expect(outcome.warnings).toHaveLength(expected.length);
      for (const words of expected) expect(outcome.warnings.join("\n")).toContain(words);
    }
  });
});

/** Answers INFO with a version only, CONFIG with the given reply, and all else with OK. */
async function fakeRedis(
  version: string,
  config: string,
): Promise<{ server: Server; port: number }> {
  const info = version === "" ? "# Server\r\n" : `# Server\r\nredis_version:${version}\r\n`;
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      for (const [command] of chunk.toString("utf8").matchAll(/^(INFO|CONFIG|AUTH|SELECT)\r$/gim)) {
        const verb = command.trim().toUpperCase();
        if (verb === "INFO") socket.write(`$${info.length}\r\n${info}\r\n`);
        else socket.write(verb === "CONFIG" ? config : "+OK\r\n");
      }
    });
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { server, port };
}
