import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { connect } from "@nats-io/transport-node";
import { Redis } from "ioredis";
import { afterEach, expect, test } from "vitest";
import { type EmbeddedServers, startEmbedded } from "../../../src/embedded/embedded-servers.ts";
import { isAlive } from "../../../src/embedded/processes.ts";
import type { ServerEvent } from "../../../src/embedded/supervised-server.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { systemClock, systemRandom } from "../../../src/runtime/system-clock.ts";

const folders: string[] = [];
const embedded: EmbeddedServers[] = [];
const pids: number[] = [];

afterEach(async () => {
  await Promise.all(embedded.splice(0).map((servers) => servers.stop()));
  for (const pid of pids.splice(0)) if (isAlive(pid)) process.kill(pid, "SIGKILL");
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true });
});

/** A run folder whose path needs quoting. */
function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), "evergrant run "));
  folders.push(dir);
  return join(dir, "run");
}

/** Starts servers and collects what they report; `next` awaits the next event of a kind. */
async function start(runDir: string) {
  const events: ServerEvent[] = [];
  let heard: () => void = () => undefined;
  const servers = await startEmbedded({
    runDir,
    clock: systemClock,
    random: systemRandom,
    users: [
      { user: "all" },
      { user: "mute", permissions: { publish: { allow: [] }, subscribe: { allow: ["a.>"] } } },
    ],
    onEvent: (event) => {
      events.push(event);
      heard();
    },
  });
  embedded.push(servers);
  const seen = async (kind: ServerEvent["kind"], server: ServerEvent["server"]): Promise<void> => {
    while (!events.some((event) => event.kind === kind && event.server === server)) {
      await new Promise<void>((resolve) => {
        heard = resolve;
      });
    }
  };
  return { servers, events, seen, kinds: () => events.map((e) => `${e.server} ${e.kind}`).sort() };
}

async function set(servers: EmbeddedServers, value: string): Promise<void> {
  const redis = new Redis(servers.redis.url.reveal());
  await redis.set("k", value);
  await redis.quit();
}

async function get(servers: EmbeddedServers): Promise<string | null> {
  const redis = new Redis(servers.redis.url.reveal());
  const value = await redis.get("k");
  await redis.quit();
  return value;
}

async function hold(runDir: string) {
  const holder = spawn(
    process.execPath,
    [fileURLToPath(new URL("holder.ts", import.meta.url)), runDir],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const [line] = (await once(createInterface(holder.stdout), "line")) as [string];
  const left = JSON.parse(line) as { nats: number; redis: number };
  pids.push(left.nats, left.redis);
  const exited = once(holder, "exit");
  return {
    left,
    end: async (signal: NodeJS.Signals) => {
      holder.kill(signal);
      await exited;
    },
  };
}

test("an orderly stop leaves no process, and the next start finds the same addresses, passwords and data", async () => {
  const runDir = folder();
  const first = await start(runDir);
  expect(first.kinds()).toEqual(["nats started", "redis started"]);
  const password = first.servers.nats.passwords.get("all")?.reveal() ?? "";
  const nats = await connect({ servers: first.servers.nats.url, user: "all", pass: password });
  await nats.close();
  await set(first.servers, "kept");
  for (const file of ["servers.json", "nats/nats.conf", "redis/redis.conf"]) {
    expect(statSync(join(runDir, file)).mode & 0o777).toBe(0o600);
  }
  const shown = JSON.parse(readFileSync(join(runDir, "servers.json"), "utf8"));
  expect(shown.nats.url).toBe(first.servers.nats.url);
  expect(shown.redis.pid).toBe(first.servers.redis.pid());
  const ended = [first.servers.nats.pid() ?? 0, first.servers.redis.pid() ?? 0];
  await first.servers.stop();
  expect(ended.map(isAlive)).toEqual([false, false]);

  const second = await start(runDir);
  expect(second.kinds()).toEqual(["nats started", "redis started"]);
  expect(second.servers.nats.port).toBe(first.servers.nats.port);
  expect(second.servers.redis.url.reveal()).toBe(first.servers.redis.url.reveal());
  expect(second.servers.nats.passwords.get("all")?.reveal()).toBe(password);
  expect(await get(second.servers)).toBe("kept");
});

test("servers whose owner was killed are adopted as they are", async () => {
  const runDir = folder();
  const { left, end } = await hold(runDir);
  await end("SIGKILL");
  expect([left.nats, left.redis].map(isAlive)).toEqual([true, true]);
  const adopter = await hold(runDir);
  expect(adopter.left).toEqual(left);
  await adopter.end("SIGTERM");
  expect([left.nats, left.redis].map(isAlive)).toEqual([false, false]);
});

test("left-over servers are ended and replaced on the same ports when frozen or configured otherwise", async () => {
  const runDir = folder();
  const { left, end } = await hold(runDir);
  const before = JSON.parse(readFileSync(join(runDir, "servers.json"), "utf8"));
  await end("SIGKILL");
  process.kill(left.redis, "SIGSTOP");
  const { servers, kinds } = await start(runDir); // other NATS users than the holder's
  expect(kinds()).toEqual([
    "nats leftover-ended",
    "nats started",
    "redis leftover-ended",
    "redis started",
  ]);
  expect([left.nats, left.redis].map(isAlive)).toEqual([false, false]);
  expect([servers.nats.port, servers.redis.port]).toEqual([before.nats.port, before.redis.port]);
});

test("a server that dies is started again on its port with its data", async () => {
  const { servers, seen, events } = await start(folder());
  await set(servers, "v");
  const port = servers.nats.port;
  events.length = 0;
  process.kill(servers.nats.pid() ?? 0, "SIGKILL");
  await seen("started", "nats");
  expect(events.map((event) => event.kind)).toEqual(["died", "started"]);
  const nats = await connect({
    servers: `127.0.0.1:${port}`,
    user: "all",
    pass: servers.nats.passwords.get("all")?.reveal() ?? "",
  });
  await nats.close();
});

test("a second owner of a run folder is refused, another folder beside it is not", async () => {
  const runDir = folder();
  const first = await start(runDir);
  await expect(start(runDir)).rejects.toMatchObject({
    code: "FILE_UNUSABLE",
    details: { ownerPid: process.pid },
  });
  expect(await get(first.servers)).toBeNull(); // still served
  const second = await start(folder());
  expect(second.servers.nats.port).not.toBe(first.servers.nats.port);
});

test("a port that a stranger took meanwhile is left to the stranger", async () => {
  const runDir = folder();
  const first = await start(runDir);
  await first.servers.stop();
  const stranger = createServer((socket) => socket.end()).listen(
    first.servers.nats.port,
    "127.0.0.1",
  );
  await once(stranger, "listening");
  const second = await start(runDir);
  expect(second.kinds()).toEqual(["nats moved", "nats started", "redis started"]);
  stranger.close();
  await once(stranger, "close");
});

test("a server that does not start is an error with the end of its log and without a password", async () => {
  const runDir = folder();
  const password = new Secret("not-for-any-log");
  const failure = await startEmbedded({
    runDir,
    clock: systemClock,
    random: systemRandom,
    // nats-server refuses a user that is named twice.
    users: [
      { user: "all", password },
      { user: "all", password },
    ],
  }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: "SERVER_START_FAILED", details: { server: "nats" } });
  expect(String(failure)).toContain("nats.conf");
  expect(String(failure)).not.toContain(password.reveal());
  const { nats } = await start(runDir).then(({ servers }) => servers); // nothing was left in the way
  expect(nats.port).toBeGreaterThan(0);
});
