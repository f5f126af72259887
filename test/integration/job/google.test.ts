/** A whole job with a Google provider: calls at the issuer, failures beside others, what agents are sent. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import type { GoogleEmulatorOptions } from "../../../src/emulators/google/server.ts";
import { connectOperator } from "../../../src/operator/operator-client.ts";
import { credentialToWire } from "../../../src/protocol/credential.ts";
import { seconds } from "../../../src/protocol/time.ts";
import { startAgent } from "../../../src/worker-agent/agent.ts";
import { askMetadata } from "../../contract/support/google-consumers.ts";
import { eventually } from "../../support/eventually.ts";
import { type GooglePool, startGooglePool } from "../../support/google-pool.ts";
import { generationAt, startJobRig, watchForGaps } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});
beforeEach(() => nats.wipe());

async function startPool(more: Partial<GoogleEmulatorOptions> = {}): Promise<GooglePool> {
  const dir = await mkdtemp(join(tmpdir(), "evergrant google job-"));
  const pool = await startGooglePool(dir, more);
  onTestFinished(async () => {
    await pool.google.stop();
    await rm(dir, { recursive: true, force: true });
  });
  return pool;
}

/** One line of the job's YAML. */
const providerLine = (pool: GooglePool, name = "gcs"): string =>
  `  - ${JSON.stringify({ name, kind: "google-wif", callTimeoutSec: 3, ...pool.options() })}`;

describe("a job with a Google provider", () => {
  it.each([1, 100])(
    "costs one exchange and one impersonation for each rotation, with %i agents",
    async (count) => {
      // The first one lives until all agents are there, however long that takes.
      const pool = await startPool({ knobs: { lifetimeMs: 600_000 } });
      const rig = await startJobRig({ nats, redis, ratio: 0.5, providers: [providerLine(pool)] });
      const coordinator = await rig.coordinator();
      await coordinator.ready();
      const operator = await connectOperator(coordinator.operatorFile);
      rig.atEnd(() => operator.close());
      const agents = await Promise.all(Array.from({ length: count }, () => rig.agent()));
      await Promise.all(agents.map((agent) => generationAt(agent, 1)));
      const gaps = agents.map((agent) => watchForGaps(agent, "gcs"));
      pool.google.knobs.lifetimeMs = 12_000;
      expect((await operator.rotate({ text: "a test", wait: seconds(30) })).state).toBe("done");
      // The second is renewed by its plan, after 6 s; the third lives to the end again.
      pool.google.knobs.lifetimeMs = 600_000;
      await Promise.all(agents.map((agent) => generationAt(agent, 3)));
      await eventually(() => coordinator.status().rotations.at(-1)?.state === "done");
      const { rotations } = coordinator.status();
      expect(rotations.map(({ reason }) => reason)).toEqual(["initial", "forced", "scheduled"]);
      expect(rotations.map(({ applied }) => applied)).toEqual(rotations.map(() => count));
      expect(pool.google.count("exchange", "ok")).toBe(rotations.length);
      expect(pool.google.count("generateAccessToken", "ok")).toBe(rotations.length);
      expect(pool.google.count()).toBe(2 * rotations.length);
      expect(gaps.map((gap) => gap.stop())).toEqual(gaps.map(() => 0));
    },
  );

  it("sends agents a token and the account's facts, and never a key, an assertion or a federated token (I9)", async () => {
    const pool = await startPool();
    const rig = await startJobRig({ nats, redis, providers: [providerLine(pool)] });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await rig.agent();
    const wire = credentialToWire(await generationAt(agent, 1));
    expect(Object.keys(wire.material)).toEqual(["accessToken"]);
    expect(Object.keys(wire.attributes).toSorted()).toEqual([
      ...["email", "projectId", "scopes", "universeDomain"],
    ]);
    const sent = JSON.stringify(wire);
    const joinFile = await readFile(rig.joinFile, "utf8");
    for (const shown of [sent, joinFile, rig.logs.join("\n")]) {
      for (const secret of pool.secrets) expect(shown.includes(secret)).toBe(false);
      expect(shown).not.toContain(pool.keyFile);
    }
    // A JWT would begin so; tokens of the emulator do not.
    expect(sent).not.toContain("eyJ");
    const info = await fetch(
      `${pool.google.url}/tokeninfo?access_token=${String(wire.material["accessToken"])}`,
    );
    expect(await info.json()).toMatchObject({ email: wire.attributes["email"] });
  });

  it("an agent without a configuration serves it as a metadata server", async () => {
    const pool = await startPool();
    const rig = await startJobRig({ nats, redis, providers: [providerLine(pool)] });
    await (await rig.coordinator()).ready();
    const agent = await startAgent({ joinFile: rig.joinFile });
    onTestFinished(() => agent.close());
    await agent.ready(20_000);
    const [served] = agent.environments();
    expect(served?.kind).toBe("google-metadata");
    const answer = await askMetadata(served?.environment ?? { set: {}, unset: [] });
    const { access_token: token } = JSON.parse(answer.body) as { readonly access_token: string };
    const listed = await fetch(`${pool.google.url}/storage/v1/b/lake/o`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(listed.status).toBe(200);
  });

  it("beside an AWS and an exec provider each keeps its own schedule: Google denied for good leaves the others untouched (I6)", async () => {
    const pool = await startPool({ knobs: { lifetimeMs: 12_000 } });
    const script = join(rigDirOf(pool), "tokens.mjs");
    await writeFile(script, EXEC_PROVIDER);
    const exec = { name: "hdfs", kind: "exec", credentialKind: "hadoop-tokens", callTimeoutSec: 3 };
    const execLine = `  - ${JSON.stringify({ ...exec, command: [process.execPath, script] })}`;
    const rig = await startJobRig({
      ...{ nats, redis, lifetimeMs: 12_000, ratio: 0.5 },
      providers: ["lake", providerLine(pool), execLine],
    });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await rig.agent();
    const of = (name: string) =>
      coordinator.status().providers.find(({ provider }) => provider === name);
    await eventually(() => ["lake", "gcs", "hdfs"].every((name) => agent.current(name)));
    pool.google.knobs.deny = { operations: ["generateAccessToken"] };
    const gaps = ["lake", "hdfs"].map((name) => watchForGaps(agent, name));
    const denied = of("gcs")?.generation;
    await eventually(() => (of("gcs")?.consecutiveFailures ?? 0) > 0);
    const before = ["lake", "hdfs"].map((name) => of(name)?.generation ?? 0);
    await eventually(() =>
      ["lake", "hdfs"].every((name, at) => (of(name)?.generation ?? 0) > (before[at] ?? 0)),
    );
    expect(gaps.map((gap) => gap.stop())).toEqual([0, 0]);
    expect(["lake", "hdfs"].map((name) => of(name)?.consecutiveFailures)).toEqual([0, 0]);
    // Its failures are counted anew from its expiry on, which may have come by now; why it fails stays.
    expect(of("gcs")).toMatchObject({ lastError: { code: "ISSUER_DENIED" }, generation: denied });
  });

  it("a rejected assertion is made anew at once: clocks that are 10 minutes apart cost one attempt", async () => {
    const pool = await startPool({ knobs: { clockSkewMs: -600_000 } });
    const rig = await startJobRig({ nats, redis, providers: [providerLine(pool)] });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    expect(pool.google.counters.calls["exchange"]).toEqual({ invalid_grant: 1, ok: 1 });
    expect(rig.logs.some((line) => line.includes("ahead of the issuer's"))).toBe(true);
    const agent = await rig.agent();
    const { expiresAt, issuerSkew } = await generationAt(agent, 1);
    expect(Math.abs(issuerSkew + 600_000)).toBeLessThan(10_000);
    expect(expiresAt).toBeGreaterThan(0);
  });
});

const rigDirOf = ({ keyFile }: GooglePool): string => join(keyFile, "..");

/** Prints a Hadoop token that lives 12 s. */
const EXEC_PROVIDER = `
const expiresAt = new Date(Date.now() + 12000).toISOString();
const token = { alias: "hdfs", urlString: "token-" + Date.now() };
console.log(JSON.stringify({
  version: 1, credentialKind: "hadoop-tokens", expiresAt, material: { tokens: [token] },
}));
`;
