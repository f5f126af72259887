import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Queue, Worker } from "bullmq";
import { describe, expect, test } from "vitest";
import { queueKeys } from "../../../src/coordinator/adapters/bullmq-queue/bull-queue.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import {
  collect,
  countOf,
  due,
  ensured,
  promised,
} from "../../contract/support/renewal-queue-contract.ts";
import { eventually } from "../../support/eventually.ts";
import { startRedis } from "../../support/servers.ts";
import { admin, dump, JOB, openQueue } from "./support.ts";

const { name, prefix } = queueKeys(JOB);

describe("the queue, when Redis fails", () => {
  test("what came due while Redis was killed is raised once, when it is back (I10)", async () => {
    const server = await startRedis();
    // On disk before it is acknowledged: with an fsync each second a killed Redis may have lost the plan.
    await admin(server.url, (client) => client.config("SET", "appendfsync", "always"));
    const { queue, problems } = openQueue({ url: server.url });
    const seen = collect(queue, systemClock);
    const planned = systemClock.now().mono;
    expect(await ensured(queue, [due("a", 4000), due("sentinel", 7000)])).toBe(2);
    await server.kill();
    await eventually(() => systemClock.now().mono - planned > 4500);
    expect(seen).toEqual([]);
    await server.restart();
    await eventually(() => countOf(seen, "a") > 0);
    await eventually(() => countOf(seen, "sentinel") > 0);
    expect(countOf(seen, "a")).toBe(1);
    expect(problems.map(({ code }) => code)).toEqual(["QUEUE_UNAVAILABLE"]);
  });

  test("a frozen Redis fails planning in bounded time; repeating it afterwards adds nothing twice", async () => {
    const server = await startRedis();
    const { queue } = openQueue({ url: server.url });
    const seen = collect(queue, systemClock);
    expect(await ensured(queue, [due("first", 0)])).toBe(1);
    await eventually(() => seen.length === 1);
    server.freeze();
    expect(await ensured(queue, [due("a", 0)])).toBe("QUEUE_UNAVAILABLE");
    expect(await ensured(queue, [due("a", 0)])).toBe("QUEUE_UNAVAILABLE");
    server.thaw();
    await eventually(async () => typeof (await ensured(queue, [due("a", 4000)])) === "number");
    expect(await ensured(queue, [due("a", 4000), due("sentinel", 5000)])).toBe(1);
    await eventually(() => countOf(seen, "sentinel") === 1);
    expect(countOf(seen, "a")).toBe(1);
  });

  test("it can be closed while Redis is frozen", async () => {
    const server = await startRedis();
    const { queue } = openQueue({ url: server.url });
    collect(queue, systemClock);
    await ensured(queue, [due("a", 3_600_000)]);
    server.freeze();
    expect((await promised<void>((done) => queue.close(done))).ok).toBe(true);
    server.thaw();
  });

  test("a Redis that refuses to write is asked again at leisure, and used once it lets us", async () => {
    // As after the loss of all replicas: every write is answered with NOREPLICAS.
    const server = await startRedis({ extra: ["min-replicas-to-write 1"] });
    const { queue, problems } = openQueue({ url: server.url });
    const seen = collect(queue, systemClock);
    const commands = (): Promise<number> =>
      admin(server.url, async (client) =>
        Number(/total_commands_processed:(\d+)/.exec(await client.info("stats"))?.[1]),
      );
    await eventually(() => problems.length > 0);
    const [before, since] = [await commands(), systemClock.now().mono];
    await eventually(() => systemClock.now().mono - since > 5_000);
    expect((await commands()) - before).toBeLessThan(200);
    expect(await ensured(queue, [due("a", 0)])).toBe("QUEUE_UNAVAILABLE");
    expect(problems.map(({ details }) => details["reason"])).toEqual(["NOREPLICAS"]);
    await admin(server.url, (client) => client.config("SET", "min-replicas-to-write", "0"));
    expect(await ensured(queue, [due("a", 0)])).toBe(1);
    await eventually(() => countOf(seen, "a") === 1);
  });

  test("a worker of BullMQ by itself would spin there (negative control)", async () => {
    const server = await startRedis({ extra: ["min-replicas-to-write 1"] });
    const client = { host: "127.0.0.1", port: server.port, maxRetriesPerRequest: null };
    const worker = new Worker(name, async () => undefined, { prefix, connection: client });
    let refusals = 0;
    worker.on("error", () => {
      refusals += 1;
    });
    await eventually(() => refusals > 1_000);
    await worker.close(true);
  });

  test.each([
    ["there", "planned\nclosed\n"],
    ["away", "QUEUE_UNAVAILABLE\nclosed\n"],
    ["frozen", "QUEUE_UNAVAILABLE\nclosed\n"],
  ])("once closed it keeps no process alive, with Redis %s", async (state, said) => {
    const server = await startRedis();
    if (state === "away") await server.kill();
    if (state === "frozen") server.freeze();
    const script = fileURLToPath(new URL("close-and-leave.ts", import.meta.url));
    const child = spawn(process.execPath, [script, server.url], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    const [code] = await once(child, "close");
    expect([code, output]).toEqual([0, said]);
  });

  test.each(["completed", "failed"] as const)(
    "an attempt that was kept as %s does not block its own id",
    async (state) => {
      const server = await startRedis();
      const connection = { host: "127.0.0.1", port: server.port };
      const raw = new Queue(name, { prefix, connection });
      const worker = new Worker(
        name,
        async () => {
          if (state === "failed") throw new Error("on purpose");
        },
        { prefix, connection: { ...connection, maxRetriesPerRequest: null } },
      );
      worker.on("error", () => undefined);
      const data = { provider: "a", generation: 7, attempt: 1 };
      await raw.add("renew", data, { jobId: "a-g7-a1", attempts: 1 });
      await eventually(async () => (await raw.getJobState("a-g7-a1")) === state);
      await worker.close();
      const { queue } = openQueue({ url: server.url });
      const seen = collect(queue, systemClock);
      expect(await ensured(queue, [due("a", 0)])).toBe(1);
      await eventually(() => seen.length === 1);
      await raw.close();
    },
  );

  test("what somebody else put into the queue is neither raised nor kept", async () => {
    const server = await startRedis();
    const raw = new Queue(name, { prefix, connection: { host: "127.0.0.1", port: server.port } });
    await raw.add("renew", { provider: "a:b", generation: "x" }, { jobId: "strange" });
    await raw.add("renew", { more: true }, { jobId: "stranger", delay: 3_600_000 });
    await raw.pause();
    const { queue, problems } = openQueue({ url: server.url });
    const seen = collect(queue, systemClock);
    expect(await ensured(queue, [due("mine", 0)])).toBe(1);
    await eventually(() => countOf(seen, "mine") === 1);
    expect(seen).toHaveLength(1);
    expect(await raw.getJob("stranger")).toBeUndefined();
    expect(problems).toEqual([]);
    await raw.close();
  });

  test("what raising throws stays in the process, and the next due is raised all the same (I9)", async () => {
    const server = await startRedis();
    const { queue, problems } = openQueue({ url: server.url });
    let raised = 0;
    queue.consume(() => {
      raised += 1;
      if (raised === 1) throw new Error("hunter2");
    });
    await ensured(queue, [due("a", 0), due("b", 300)]);
    await eventually(() => raised === 2);
    expect(problems.map(({ code }) => code)).toEqual(["INTERNAL"]);
    expect((await dump(server.url)).join("\n")).not.toContain("hunter2");
    expect(await ensured(queue, [])).toBe(0);
  });

  test("Redis sees names, counts and times, and nothing else (I9)", async () => {
    const server = await startRedis();
    const { queue } = openQueue({ url: server.url });
    const seen = collect(queue, systemClock);
    // An entry of the plan that carries more than it should.
    const careless = { ...due("lake", 3_600_000), secret: "hunter2" };
    await ensured(queue, [careless, due("raised", 0)]);
    await eventually(() => seen.length === 1);
    const allowed = [
      /^evergrant:\{acme\.etl\}:acme\.etl:[A-Za-z0-9_-]+(:[a-z]+)?$/,
      /^(lake|raised)-g7-a1$/,
      /^\{"provider":"(lake|raised)","generation":7,"attempt":1\}$/,
      // BullMQ's own: options, states, counts, times, its version, random worker ids, markers.
      /^\{("(attempts|delay|backoff|removeOnComplete|removeOnFail|kl|jobId)":("?[A-Za-z0-9_-]+"?),?)+\}$/,
      /^[a-zA-Z.]+$/,
      /^-?\d+$/,
      /^bullmq:\d+\.\d+\.\d+$/,
      /^$/,
    ];
    const strange = (await dump(server.url)).filter(
      (text) => !allowed.some((pattern) => pattern.test(text)),
    );
    expect(strange).toEqual([]);
  });
});
