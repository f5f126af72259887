import { Counter, Registry } from "prom-client";
import { afterEach, describe, expect, it } from "vitest";
import {
  type StatusServer,
  type StatusServerOptions,
  startStatusServer,
} from "../../../src/runtime/status-server.ts";

const servers: StatusServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function start(options: Partial<StatusServerOptions> = {}): Promise<StatusServer> {
  const fine = () => ({ ok: true, reasons: [] });
  const server = await startStatusServer({ health: fine, ready: fine, ...options });
  servers.push(server);
  return server;
}

describe("status server", () => {
  it("listens on loopback only, unless told otherwise", async () => {
    const server = await start();
    expect(server.url).toBe(`http://127.0.0.1:${server.port}`);
  });

  it("answers /readyz with 503 and the reasons until it is ready", async () => {
    let ready = false;
    const server = await start({
      ready: () => ({ ok: ready, reasons: ready ? [] : ["no bundle yet"], generation: 7 }),
    });
    const before = await fetch(`${server.url}/readyz`);
    expect(before.status).toBe(503);
    expect(await before.json()).toEqual({ ok: false, reasons: ["no bundle yet"], generation: 7 });
    ready = true;
    expect((await fetch(`${server.url}/readyz?verbose`)).status).toBe(200);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  });

  it("shows the metrics of its registry, and none without one", async () => {
    const registry = new Registry();
    new Counter({ name: "tries_total", help: "Tries", registers: [registry] }).inc(3);
    const server = await start({ metrics: registry });
    expect(await (await fetch(`${server.url}/metrics`)).text()).toContain("tries_total 3");
    const bare = await start();
    expect((await fetch(`${bare.url}/metrics`)).status).toBe(404);
  });

  it("takes GET and HEAD only, and knows no other path", async () => {
    const server = await start();
    expect((await fetch(`${server.url}/healthz`, { method: "POST" })).status).toBe(405);
    expect((await fetch(`${server.url}/healthz`, { method: "HEAD" })).status).toBe(200);
    expect((await fetch(`${server.url}/elsewhere`)).status).toBe(404);
  });

  it("answers 500 when a report can't be made, and goes on", async () => {
    let broken = true;
    const server = await start({
      health: () => {
        if (broken) throw new Error("no");
        return { ok: true, reasons: [] };
      },
    });
    expect((await fetch(`${server.url}/healthz`)).status).toBe(500);
    broken = false;
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  });

  it("fails with SERVER_START_FAILED when the port is taken", async () => {
    const { port } = await start();
    await expect(start({ port })).rejects.toMatchObject({ code: "SERVER_START_FAILED" });
  });
});
