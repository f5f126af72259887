/** What a real job tells of itself: probes, metrics, and logs that can be joined by job, provider and generation. */
import { networkInterfaces } from "node:os";
import { describe, expect, it } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { FAST, generationAt, startJobRig } from "../../support/job-rig.ts";
import { startNats, startRedis } from "../../support/servers.ts";

describe("a coordinator", () => {
  it("tells its probes, metrics and logs, on loopback alone, and what stands in the logs can be joined", async () => {
    const [nats, redis] = await Promise.all([startNats(), startRedis()]);
    const rig = await startJobRig({ nats, redis, job: "seen", lifetimeMs: 7000, yaml: FAST });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await rig.agent();
    await generationAt(agent, 2);
    await eventually(() => coordinator.status().rotations.at(-1)?.state === "done");
    const get = (path: string) => fetch(`${coordinator.statusUrl}${path}`);
    expect((await get("/healthz")).status).toBe(200);
    expect((await get("/readyz")).status).toBe(200);
    const metrics = await (await get("/metrics")).text();
    const { term } = coordinator.status();
    for (const line of [
      /^evergrant_runway_seconds\{provider="lake"\} [1-6](\.\d+)?$/m,
      /^evergrant_provider_generation\{provider="lake"\} 2$/m,
      /^evergrant_issuer_calls_total\{provider="lake"\} 2$/m,
      /^evergrant_issuer_requests_total\{provider="lake"\} 2$/m,
      /^evergrant_agents\{state="live"\} 1$/m,
      /^evergrant_agents_behind 0$/m,
      /^evergrant_leading 1$/m,
      /^evergrant_ready 1$/m,
      new RegExp(`^evergrant_term ${term}$`, "m"),
      /^evergrant_publish_to_last_ack_seconds [\d.e-]+$/m,
      /^evergrant_info\{tenant="default",job="seen"\} 1$/m,
      /^process_cpu_seconds_total/m,
    ]) {
      expect(metrics).toMatch(line);
    }
    const { hostname, port } = new URL(coordinator.statusUrl);
    expect(hostname).toBe("127.0.0.1");
    const outside = Object.values(networkInterfaces())
      .flat()
      .find((address) => address?.family === "IPv4" && !address.internal);
    if (outside !== undefined) {
      await expect(fetch(`http://${outside.address}:${port}/healthz`)).rejects.toThrow();
    }

    const lines = rig.logs.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.filter(({ job, tenant }) => job !== "seen" || tenant !== "default")).toEqual([]);
    const about = lines.filter(
      ({ provider, generation }) => provider === "lake" && generation === 2,
    );
    expect(about.length).toBeGreaterThan(0);
    const delivered = lines.filter(({ generation }) => generation === 2).map((l) => l["message"]);
    expect(delivered).toEqual(expect.arrayContaining(["bundle published", "rotation applied"]));
  });
});
