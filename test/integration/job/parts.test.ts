/** Receivers that fail in a real job, and parts from packages, loaded by the configuration. */
import { cp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcp } from "node:net";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../../src/embedded/answers.ts";
import { connectOperator } from "../../../src/operator/operator-client.ts";
import { seconds } from "../../../src/protocol/time.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { eventually } from "../../support/eventually.ts";
import { generationAt, startJobRig } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

describe("an agent with a receiver that fails", () => {
  it("is shown as failing to the operator, is missing in a rotation, and heals by itself", async () => {
    const rig = await startJobRig({ nats, redis, job: "failing", lifetimeMs: 600_000 });
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const operator = await connectOperator(coordinator.operatorFile);
    rig.atEnd(() => operator.close());
    const port = await freePort();
    const squatter = createTcp();
    await new Promise<void>((resolve) => squatter.listen(port, "127.0.0.1", resolve));
    rig.atEnd(() => new Promise((resolve) => squatter.close(resolve)));
    const path = join(rig.dir, "no folder", "credential.json");
    await writeFile(join(rig.dir, "no folder"), "in the way");
    const agent = await rig.sidecar({
      config: {
        name: "ill",
        receivers: [
          { kind: "aws-container", provider: "lake", port },
          { kind: "file", provider: "lake", path },
        ],
        timings: { receiverRetry: { firstMs: 100, lastMs: 500 } },
      },
    });
    const failing = async () => (await operator.agents()).find((a) => a.agent === "ill")?.failing;
    await eventually(async () => Object.keys((await failing()) ?? {}).length === 2);
    expect(await failing()).toEqual({
      "aws-container/lake": "RECEIVER_FAILED",
      "file/lake": "RECEIVER_FAILED",
    });
    const stuck = await operator.rotate({ text: "drill", wait: seconds(1) });
    expect(stuck.state).not.toBe("done");
    await eventually(async () => (await operator.rotation(stuck.id)).state === "delivering");
    expect(await operator.rotation(stuck.id)).toMatchObject({
      state: "delivering",
      missing: ["ill"],
    });
    await expect(agent.ready(1)).rejects.toMatchObject({ code: "START_TIMEOUT" });

    await rm(join(rig.dir, "no folder"));
    await new Promise((resolve) => squatter.close(resolve));
    await agent.ready(10_000);
    await eventually(async () => Object.keys((await failing()) ?? { none: "" }).length === 0);
    expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ generation: 2 });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await eventually(async () => (await operator.rotation(stuck.id)).state === "done");
    expect(rig.issued()).toBe(2);
  });
});

describe("a provider and a receiver from npm packages", () => {
  it("carry a job that names them in its configuration, rotation after rotation", async () => {
    const rig = await startJobRig({ nats, redis, job: "plug-ins" });
    for (const [folder, name] of [
      ["provider-plugin", "evergrant-provider-token-url"],
      ["receiver-plugin", "evergrant-receiver-dotenv"],
    ] as const) {
      const source = new URL(`../../../examples/${folder}/`, import.meta.url);
      await cp(source, join(rig.dir, "node_modules", name), { recursive: true });
    }
    // The in-house broker that the provider asks: a credential of 6 s for whoever has the token.
    let served = 0;
    const broker = createServer((request, response) => {
      if (request.headers.authorization !== "Bearer of-the-broker") {
        response.writeHead(401).end();
        return;
      }
      served += 1;
      const expiresAt = new Date(systemClock.now().wall + 6000).toISOString();
      const material = {
        accessKeyId: `ASIAPLUGIN${served}`,
        secretAccessKey: "hush",
        sessionToken: "hush",
      };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ material, expiresAt }));
    });
    await new Promise<void>((resolve) => broker.listen(0, "127.0.0.1", resolve));
    rig.atEnd(async () => void broker.close());
    const { port } = broker.address() as AddressInfo;
    await writeFile(join(rig.dir, "token"), "wrong\n");
    rig.configure([
      `  - {name: lake, kind: evergrant-provider-token-url, url: "http://127.0.0.1:${port}/", tokenFile: token, callTimeoutSec: 3}`,
    ]);
    const coordinator = await rig.coordinator();
    await eventually(
      () => coordinator.status().providers[0]?.lastError?.code === "ISSUER_IDENTITY_REJECTED",
    );
    // The agent is there before the first credential: else it might meet the second one first.
    const path = join(rig.dir, "credentials.env");
    const agent = await rig.sidecar({
      config: { receivers: [{ kind: "evergrant-receiver-dotenv", provider: "lake", path }] },
    });
    await writeFile(join(rig.dir, "token"), "of-the-broker\n");
    await coordinator.ready();
    await agent.ready(20_000);
    for (const n of [1, 2, 3]) {
      await eventually(async () =>
        (await readFile(path, "utf8")).includes(`AWS_ACCESS_KEY_ID=ASIAPLUGIN${n}\n`),
      );
    }
    await eventually(() => (coordinator.status().rotations.at(-1)?.applied ?? 0) === 1);
    expect(coordinator.status().providers[0]?.generation).toBe(served);
    await generationAt(await rig.agent(), served);
    await rm(path, { force: true });
  });
});
