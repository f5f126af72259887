import { beforeAll, describe, expect, it } from "vitest";
import { connectOperator } from "../../src/operator/operator-client.ts";
import { seconds } from "../../src/protocol/time.ts";
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
    // The first one lives until all agents are there, however long that takes.
    const rig = await startJobRig({ nats, redis, lifetimeMs: 600_000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const operator = await connectOperator(coordinator.operatorFile);
    rig.atEnd(() => operator.close());
    const agents = await Promise.all(
      Array.from({ length: AGENTS }, (_, index) => rig.agent({ name: `executor-${index}` })),
    );
    await Promise.all(agents.map((agent) => generationAt(agent, 1)));
    const gaps = agents.map((agent) => watchForGaps(agent, "lake"));
    rig.sts.knobs.lifetimeMs = 16_000;
    expect((await operator.rotate({ text: "scale", wait: seconds(60) })).state).toBe("done");
    // The second is renewed by its plan, after 12 s; the third lives to the end again.
    rig.sts.knobs.lifetimeMs = 600_000;
    await Promise.all(agents.map((agent) => generationAt(agent, 3)));
    await eventually(() => coordinator.status().rotations.at(-1)?.state === "done");
    const { rotations } = coordinator.status();
    expect(rotations.map((r) => [r.reason, r.issuerCalls, r.applied])).toEqual([
      ["initial", 1, AGENTS],
      ["forced", 1, AGENTS],
      ["scheduled", 1, AGENTS],
    ]);
    expect(gaps.map((gap) => gap.stop()).filter((gap) => gap > 0)).toEqual([]);

    // One is killed and started again: the current credential comes with the answer to its registration,
    // not with a broadcast or a push that it would have to wait for.
    await agents[0]?.close();
    const again = await rig.agent({ name: "executor-0" });
    const order: string[] = [];
    again.events.once("joined", () => order.push("joined"));
    again.events.on("credential", ({ generation }) => order.push(`credential ${generation}`));
    await generationAt(again, 3);
    expect(order).toEqual(["joined", "credential 3"]);
    expect(rig.issued()).toBe(3);
  });
});
