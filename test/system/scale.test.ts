import { beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { generationAt, startJobRig, watchForGaps } from "../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";

const AGENTS = 200;

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

describe(`a job with ${AGENTS} agents`, () => {
  it("asks STS once for each rotation, and an agent that comes back needs no call", async () => {
    const rig = await startJobRig({ nats, redis, lifetimeMs: 20_000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agents = await Promise.all(
      Array.from({ length: AGENTS }, (_, index) => rig.agent({ name: `executor-${index}` })),
    );
    await Promise.all(agents.map((agent) => generationAt(agent, 1)));
    const gaps = agents.map((agent) => watchForGaps(agent, "lake"));
    await Promise.all(agents.map((agent) => generationAt(agent, 2)));
    await eventually(() => coordinator.status().rotations.at(-1)?.state === "done");
    expect(coordinator.status().rotations.map((r) => [r.issuerCalls, r.applied])).toEqual([
      [1, AGENTS],
      [1, AGENTS],
    ]);
    expect(gaps.map((gap) => gap.stop()).filter((gap) => gap > 0)).toEqual([]);

    // One is killed and started again: the current credential comes with the answer to its registration,
    // not with a broadcast or a push that it would have to wait for.
    await agents[0]?.close();
    const again = await rig.agent({ name: "executor-0" });
    const order: string[] = [];
    again.events.once("joined", () => order.push("joined"));
    again.events.on("credential", ({ generation }) => order.push(`credential ${generation}`));
    await generationAt(again, 2);
    expect(order).toEqual(["joined", "credential 2"]);
    expect(rig.issued()).toBe(2);
  });
});
