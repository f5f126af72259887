/** Somebody in the broker, with every permission and even the group key, plays bundles to the agents of a real job. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { connect } from "@nats-io/transport-node";
import { beforeAll, describe, expect, it } from "vitest";
import { connectOperator } from "../../../src/operator/operator-client.ts";
import { type Bundle, MAX_SEALED_BYTES, sealBundle } from "../../../src/protocol/bundle.ts";
import type { Credential } from "../../../src/protocol/credential.ts";
import { currentSet, groupKeyOf, type JobKeyFile } from "../../../src/protocol/keys.ts";
import type { JobId } from "../../../src/protocol/names.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { BUCKET, jobKey, subject } from "../../../src/protocol/subjects.ts";
import { later, seconds } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { eventually } from "../../support/eventually.ts";
import { generationAt, startJobRig, watchForGaps } from "../../support/job-rig.ts";
import { testJob } from "../../support/nats-job.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

async function jobUnderAttack(id: JobId) {
  const rig = await startJobRig({ nats, redis, job: id.job, lifetimeMs: 600_000 });
  const broker = await connect({ servers: [nats.url] });
  rig.atEnd(() => broker.close());
  const heard: Uint8Array[] = [];
  broker.subscribe(subject.bundle(id), {
    callback: (_error, { data }) => void (data.length > 0 && heard.push(new Uint8Array(data))),
  });
  await broker.flush();
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const agents = await Promise.all([rig.agent({ name: "a" }), rig.agent({ name: "b" })]);
  await Promise.all(agents.map((agent) => generationAt(agent, 1)));
  const operator = await connectOperator(coordinator.operatorFile);
  rig.atEnd(() => operator.close());
  return { rig, broker, heard, coordinator, agents, operator };
}

/** A credential that nobody must ever serve. */
function planted(): Credential {
  const { wall } = systemClock.now();
  return {
    provider: "lake",
    kind: "aws-session",
    generation: 99,
    issuedAt: wall,
    expiresAt: later(wall, seconds(3600)),
    issuerSkew: seconds(0),
    attributes: {},
    material: new Secret({
      accessKeyId: "AKIAPLANTED",
      secretAccessKey: "planted",
      sessionToken: "planted",
    }),
  };
}

describe("agents of a real job", () => {
  it("refuse what is forged, cut, too large, expired, of another job or older, keep what they hold, and the operator sees the counts", async () => {
    const id = { tenant: "default", job: "attacked" };
    const { rig, broker, heard, coordinator, agents, operator } = await jobUnderAttack(id);
    const file = JSON.parse(
      await readFile(join(rig.dir, "run", "job-key.json"), "utf8"),
    ) as JobKeyFile;
    const set = currentSet(file);
    const [first] = heard;
    if (first === undefined) throw new Error("no bundle was heard");
    await operator.rotate({ text: "so that there is an older one", wait: seconds(20) });
    const held = await Promise.all(agents.map((agent) => generationAt(agent, 2)));
    const gaps = agents.map((agent) => watchForGaps(agent, "lake"));
    const newest = heard.at(-1) ?? first;

    expect(agents.map((agent) => agent.health().refused)).toEqual([{}, {}]);
    const { term, generation } = coordinator.status();
    const { wall } = systemClock.now();
    const group = groupKeyOf(set, id, kidOf(newest));
    const bundle: Bundle = {
      ...id,
      term: term + 1,
      generation: generation + 1,
      sealedAt: wall,
      expiresAt: later(wall, seconds(3600)),
      credentials: [planted()],
      tombstones: [{ provider: "lake", generation: 98 }],
    };
    const stranger = await testJob(id);
    const strangerKey = currentSet(stranger.file).signing;
    const flipped = newest.slice();
    flipped[flipped.length - 5] = flipped[flipped.length - 5] === 65 ? 66 : 65;
    const played: readonly (readonly [code: string, bytes: Uint8Array])[] = [
      // The group key is every agent's: the signature is what counts.
      ["KEY_UNKNOWN", await sealBundle(bundle, group, strangerKey)],
      ["MESSAGE_FORGED", await sealBundle(bundle, group, { ...strangerKey, kid: set.signing.kid })],
      ["MESSAGE_FORGED", flipped],
      ["MESSAGE_FORGED", newest.slice(0, newest.length / 2)],
      ["MESSAGE_FORGED", new TextEncoder().encode("no bundle at all")],
      ["MESSAGE_TOO_LARGE", new Uint8Array(MAX_SEALED_BYTES + 1).fill(65)],
      [
        "MESSAGE_FOR_OTHER_JOB",
        await sealBundle({ ...bundle, job: "elsewhere" }, group, set.signing),
      ],
      [
        "MESSAGE_EXPIRED",
        await sealBundle({ ...bundle, expiresAt: later(wall, seconds(-1)) }, group, set.signing),
      ],
      ["MESSAGE_REPLAYED", first],
    ];
    const expected: Record<string, number> = {};
    for (const [code, bytes] of played) {
      expected[code] = (expected[code] ?? 0) + 1;
      broker.publish(subject.bundle(id), bytes);
    }
    // Looked at twice: a clock that was set wrong is measured anew in between.
    expected["MESSAGE_EXPIRED"] = 2;
    // The current one once more, and an empty one: neither is a fault.
    broker.publish(subject.bundle(id), newest);
    broker.publish(subject.bundle(id), new Uint8Array(0));
    await broker.flush();
    for (const agent of agents) {
      await eventually(() => {
        const counts = agent.health().refused;
        return Object.entries(expected).every(([code, count]) => (counts[code] ?? 0) >= count);
      });
      expect(agent.health().refused).toEqual(expected);
      expect(agent.current("lake")).toBe(held[agents.indexOf(agent)]);
    }
    // By the next beat the operator sees who was attacked, and with what.
    await eventually(async () =>
      (await operator.agents()).every(({ refused }) => isDeepStrictEqual(refused, expected)),
    );
    expect((await operator.status()).agents).toMatchObject({ live: 2, upToDate: 2 });
    // And the job goes on.
    await operator.rotate({ text: "after the attack", wait: seconds(20) });
    expect(rig.issued()).toBe(3);
    expect(gaps.map((gap) => gap.stop())).toEqual([0, 0]);
  });

  it("believe no bundle that was put into the store past the coordinator, which publishes over it", async () => {
    const id = { tenant: "default", job: "poisoned" };
    const { rig, broker, coordinator, agents, operator } = await jobUnderAttack(id);
    const gaps = agents.map((agent) => watchForGaps(agent, "lake"));
    broker.publish(`$KV.${BUCKET.bundle}.${jobKey(id)}`, "poison");
    await broker.flush();
    for (const agent of agents) {
      await eventually(() => agent.health().refused["MESSAGE_FORGED"] === 1);
    }
    const late = await rig.agent({ name: "late" });
    await generationAt(late, 1);
    const before = coordinator.status().generation;
    await operator.rotate({ text: "over the poison", wait: seconds(20) });
    expect(coordinator.status().generation).toBeGreaterThan(before);
    await Promise.all(agents.map((agent) => generationAt(agent, 2)));
    expect(rig.issued()).toBe(2);
    expect(gaps.map((gap) => gap.stop())).toEqual([0, 0]);
  });
});

/** The group key's name, from the readable header inside of the signature. */
function kidOf(sealed: Uint8Array): string {
  const jwe = Buffer.from(Buffer.from(sealed).toString("utf8").split(".")[1] ?? "", "base64url");
  const header = Buffer.from(jwe.toString("utf8").split(".")[0] ?? "", "base64url");
  return (JSON.parse(header.toString("utf8")) as { readonly kid: string }).kid;
}
