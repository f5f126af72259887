/** A whole job on the stores that deploy/ configures, whichever servers they are. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type StsEmulator, startStsEmulator } from "../../src/emulators/aws-sts/server.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import type { DeployStores } from "./deploy-folder.ts";
import { deployRedisClient } from "./deploy-redis-client.ts";
import { evergrant, runEvergrant } from "./evergrant-process.ts";

/** Call it in a `describe` whose `beforeAll` has the stores ready. */
export function deployJobSuite(stores: () => DeployStores): void {
  let sts: StsEmulator;
  beforeAll(async () => {
    sts = await startStsEmulator({
      clock: systemClock,
      random: systemRandom,
      knobs: { lifetimeMs: 3_600_000 },
    });
  });
  afterAll(() => sts?.stop());

  it("carry a whole job: coordinator, standby, agent and operator, over TLS, each as its own user", async () => {
    const { folder, natsPort, redisPort } = stores();
    const deploy = folder.dir;
    const text = readFileSync(join(deploy, "job.yaml"), "utf8")
      .replaceAll("/run/secrets", join(deploy, "secrets"))
      .replace("nats:4222", `127.0.0.1:${natsPort}`)
      .replace("redis:6379", `127.0.0.1:${redisPort}`)
      .replace("runDir: /run/evergrant", "runDir: ./run")
      .replace("host: 0.0.0.0, port: 9464", "host: 127.0.0.1, port: 0")
      .replace("region: eu-west-1", `region: eu-west-1\n    endpoint: ${sts.url}`);
    for (const name of ["first", "second"]) {
      mkdirSync(join(deploy, name));
      writeFileSync(join(deploy, name, "job.yaml"), text);
    }
    const { accessKeyId, secretAccessKey } = sts.baseCredentials;
    const env = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey.reveal() };
    const shared = [
      ...["--job-key", join(deploy, "secrets/job-key.json")],
      ...["--join-file", join(deploy, "join.json")],
    ];
    const coordinator = (name: string, ...more: string[]) =>
      evergrant(["coordinator", ...more, "--config", join(deploy, name, "job.yaml"), ...shared], {
        cwd: deploy,
        env,
      });
    const first = coordinator("first");
    await first.says("ready: every credential is obtained");
    const second = coordinator("second", "--standby");
    await second.says("coordinator of default/etl started");
    const agent = evergrant(["agent", "--join", join(deploy, "join.json"), "--name", "agent-1"], {
      cwd: deploy,
    });
    await agent.says("ready: lake by aws-container");
    const operator = ["--operator", join(deploy, "first/run/operator.json")];
    const rotated = await runEvergrant(
      ["rotate", "--reason", "a test", "--wait", "--json", ...operator],
      { cwd: deploy },
    );
    expect(rotated.code, rotated.stderr).toBe(0);
    expect(JSON.parse(rotated.stdout)).toMatchObject({ state: "done", applied: 1, missing: [] });
    expect(sts.count("AssumeRole", "ok")).toBe(2);
    // The plan is in Redis, under the one prefix that its user reaches.
    const admin = deployRedisClient(stores(), "evergrant", folder.secret("redis-password"));
    expect(await admin.exists("evergrant:{default.etl}:default.etl:meta")).toBe(1);
    admin.disconnect();
    const warnings = [first, second, agent].flatMap((process) =>
      process
        .stderr()
        .split("\n")
        .filter((line) => /"level":"(warn|error)"/.test(line)),
    );
    expect(warnings).toEqual([]);
    const ended = await runEvergrant(["end", ...operator], { cwd: deploy });
    expect(ended.code, ended.stderr).toBe(0);
    expect([await first.ended, await second.ended]).toEqual([0, 0]);
    agent.signal("SIGTERM");
    expect(await agent.ended).toBe(0);
  });
}
