/**
 * One minor version apart: a newer side adds members to what it writes, and an older one ignores them.
 * Here everything that the protocol writes bears unknown members, at every depth, in both directions
 * at once: what is read back must work as if they were not there.
 */
import { readFileSync } from "node:fs";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { connectOperator } from "../../../src/operator/operator-client.ts";
import { seconds } from "../../../src/protocol/time.ts";
import { generationAt, startJobRig } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

let nats: TestServer;
let redis: TestServer;
beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

const FUTURE = "memberOfALaterVersion";
let written = 0;

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;

/** Maps from names that are anybody's: no place for members of ours. */
const MAPS = new Set(["attributes", "runwayMs", "failing", "refused", "providers", "tokenUses"]);

function later(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) return value.map((item) => later(item));
  if (!isPlain(value) || key === "material") return value;
  const entries = Object.entries(value).map(([name, inner]) => [name, later(inner, name)]);
  if (MAPS.has(key)) return Object.fromEntries(entries);
  written += 1;
  return { ...Object.fromEntries(entries), [FUTURE]: { since: "1.1", list: [1, null] } };
}

/** Documents and messages of the protocol bear `v` or `version`; a bundle's content bears its credentials. */
const isOurs = (value: unknown): boolean =>
  isPlain(value) &&
  (value["v"] === 1 || value["version"] === 1 || ("credentials" in value && "tombstones" in value));

const original = JSON.stringify;
beforeEach(() => {
  written = 0;
  vi.spyOn(JSON, "stringify").mockImplementation(((value: unknown, ...rest: [never, never]) =>
    original(isOurs(value) ? later(value) : value, ...rest)) as typeof JSON.stringify);
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe("sides whose versions are one minor apart", () => {
  it("work together: joins, rotations, acks, commands, a restart, the end", async () => {
    const rig = await startJobRig({ nats, redis, lifetimeMs: 60_000 });
    const first = await rig.coordinator();
    await first.ready();
    const agent = await rig.agent({ name: "worker-1" });
    expect((await generationAt(agent, 1)).kind).toBe("aws-session");

    const operator = await connectOperator(first.operatorFile);
    const rotation = await operator.rotate({ text: "a test", wait: seconds(20) });
    expect(rotation).toMatchObject({ state: "done", applied: 1, missing: [], issuerCalls: 1 });
    await generationAt(agent, 2);
    expect(await operator.agents()).toMatchObject([{ agent: "worker-1", state: "live" }]);
    await operator.close();

    // A coordinator reads the state, the lease and the keys that another version has written.
    await first.handOver();
    const second = await rig.coordinator();
    await second.ready();
    expect(second.status().term).toBeGreaterThan(first.status().term);
    expect(rig.issued()).toBe(2);
    const late = await rig.agent({ name: "worker-2" });
    expect((await generationAt(late, 2)).generation).toBe(2);
    expect(second.status().refused).toEqual({});
    expect(agent.health().refused).toEqual({});

    // Control: the members were there, in files and in messages.
    expect(readFileSync(rig.joinFile, "utf8")).toContain(FUTURE);
    expect(written).toBeGreaterThan(20);
    const ended = new Promise<void>((resolve) => agent.events.once("ended", () => resolve()));
    await second.end();
    await ended;
  });
});
