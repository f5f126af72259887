/** The two ways to stop, at real stores: a hand-over keeps everything, an end removes it. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { beforeAll, describe, expect, it } from "vitest";
import { connectOperator } from "../../../src/operator/operator-client.ts";
import { BUCKET } from "../../../src/protocol/subjects.ts";
import { eventually } from "../../support/eventually.ts";
import { generationAt, type JobRig, startJobRig } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";
import { admin } from "../redis/support.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

/** What the stores hold of one job. */
async function storedOf(rig: JobRig, job: string) {
  const nc = await connect({ servers: [nats.url] });
  try {
    await jetstreamManager(nc);
    const kvm = new Kvm(jetstream(nc));
    const value = async (bucket: string): Promise<string | undefined> => {
      const entry = await (await kvm.open(bucket)).get(`default.${job}`);
      return entry === null || entry.operation !== "PUT" ? undefined : entry.string();
    };
    const lease = await value(BUCKET.lease);
    return {
      lease: lease === undefined ? undefined : (JSON.parse(lease) as { readonly state: string }),
      state: await value(BUCKET.state),
      bundle: await value(BUCKET.bundle),
      queueKeys: await admin(redis.url, (client) => client.keys(`*default.${job}*`)),
      issued: rig.issued(),
    };
  } finally {
    await nc.close();
  }
}

describe("a coordinator", () => {
  it("that hands over releases the lease and keeps the rest: agents go on, and nobody says goodbye", async () => {
    const rig = await startJobRig({ nats, redis, job: "kept", lifetimeMs: 60_000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await rig.agent();
    const held = await generationAt(agent, 1);
    let ended = 0;
    agent.events.on("ended", () => {
      ended += 1;
    });
    await coordinator.handOver();
    expect(await coordinator.finished).toBe("handed-over");
    const stored = await storedOf(rig, "kept");
    expect(stored.lease?.state).toBe("released");
    expect(stored.state).toBeDefined();
    expect(stored.bundle).toBeDefined();
    expect(stored.queueKeys.length).toBeGreaterThan(0);
    const next = await rig.coordinator();
    await next.ready();
    await eventually(() => next.status().agents.upToDate === 1);
    expect(agent.current("lake")).toBe(held);
    expect([ended, rig.issued()]).toEqual([0, 1]);
  });

  it("that is told to end says goodbye, removes what is stored and leaves a tombstone, at which a standby ends", async () => {
    const rig = await startJobRig({ nats, redis, job: "over", lifetimeMs: 60_000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const standby = await rig.coordinator({ standby: true });
    await eventually(() => standby.status().phase === "waiting");
    const agent = await rig.agent();
    const held = await generationAt(agent, 1);
    const goodbye = new Promise<void>((resolve) => agent.events.once("ended", () => resolve()));
    const operator = await connectOperator(coordinator.operatorFile);
    rig.atEnd(() => operator.close());
    await operator.end();
    expect(await coordinator.finished).toBe("ended");
    await goodbye;
    expect(await standby.finished).toBe("ended");
    const stored = await storedOf(rig, "over");
    expect(stored.lease?.state).toBe("ended");
    expect([stored.state, stored.bundle, stored.queueKeys]).toEqual([undefined, undefined, []]);
    // An executor that is still at work keeps what it has until it expires.
    expect(agent.current("lake")).toBe(held);
    expect(rig.issued()).toBe(1);

    // The same job again begins anew, under a higher term.
    const again = await rig.coordinator();
    await again.ready();
    expect(again.status().term).toBeGreaterThan(coordinator.status().term);
    expect(again.status().rotations.map(({ reason }) => reason)).toEqual(["initial"]);
    expect(rig.issued()).toBe(2);
    await generationAt(await rig.agent(), 1);
  });
});
