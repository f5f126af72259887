/**
 * What deploy/ ships, used as it is: the server configurations are started and a whole job runs on
 * them, and what needs a cluster, a container engine or systemd is held to their own schemas and checks.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { parseJobConfig, resolveProviders } from "../../src/coordinator/config.ts";
import { atLeast, findServer } from "../../src/embedded/find-server.ts";
import { usersConfig } from "../../src/nats/users-config.ts";
import { parseAgentConfig } from "../../src/worker-agent/config.ts";
import {
  type DeployFolder,
  type DeployStores,
  deployFolder,
  forNatsOf210,
  startDeployStores,
} from "../support/deploy-folder.ts";
import { deployJobSuite } from "../support/deploy-job-suite.ts";
import { deployNatsSuite } from "../support/deploy-nats-suite.ts";
import { deployRedisClient } from "../support/deploy-redis-client.ts";
import { startProcess } from "../support/evergrant-process.ts";
import { ROOT } from "../support/packed-package.ts";
import { venvProgram } from "../support/validators.ts";

const read = (...path: string[]): string => readFileSync(join(ROOT, "deploy", ...path), "utf8");

let folder: DeployFolder;
let deploy: string;
beforeAll(async () => {
  folder = await deployFolder();
  deploy = folder.dir;
});
afterAll(() => folder?.remove());

describe("the shipped NATS and Redis configurations", () => {
  let stores: DeployStores;
  beforeAll(async () => {
    stores = await startDeployStores(folder, await findServer("nats-server"));
  });
  afterAll(() => stores?.stop());

  deployJobSuite(() => stores);
  deployNatsSuite(() => stores);

  it("Redis lets nobody in without a password, and evergrant to its own keys and no command for administrators", async () => {
    const nobody = deployRedisClient(stores);
    await expect(nobody.call("PING")).rejects.toThrow(/NOAUTH|NOPERM/);
    nobody.disconnect();
    const wrong = deployRedisClient(stores, "evergrant", "guess");
    await expect(wrong.get("evergrant:x")).rejects.toThrow();
    wrong.disconnect();
    const own = deployRedisClient(stores, "evergrant", folder.secret("redis-password"));
    expect(await own.set("evergrant:x", "1")).toBe("OK");
    for (const call of [
      ["SET", "other", "1"],
      ["KEYS", "*"],
      ["CONFIG", "GET", "dir"],
      ["FLUSHALL"],
      ["SHUTDOWN"],
      ["ACL", "LIST"],
      ["SUBSCRIBE", "any"],
    ] as const) {
      const [name, ...args] = call;
      await expect(own.call(name, ...args), name).rejects.toThrow("NOPERM");
    }
    expect(await own.del("evergrant:x")).toBe(1);
    own.disconnect();
    const plain = new Redis({
      host: "127.0.0.1",
      port: stores.redisPort,
      lazyConnect: true,
      retryStrategy: () => null,
    });
    plain.on("error", () => undefined);
    await expect(plain.connect()).rejects.toThrow();
    plain.disconnect();
  });

  it("are what the permission table says now", () => {
    const id = { tenant: "default", job: "etl" };
    expect(read("nats/users.conf")).toBe(usersConfig({ id, agents: [] }));
  });

  it("NATS 2.9 refuses the setting of newer servers, which therefore stands in a file of its own", async () => {
    const [older, newer] = [join(deploy, "nats-2.9"), join(deploy, "nats-2.10")];
    for (const copy of [older, newer]) cpSync(join(ROOT, "deploy/nats"), copy, { recursive: true });
    forNatsOf210(newer);
    const { path, version } = await findServer("nats-server");
    const check = async (configuration: string): Promise<boolean> => {
      const child = startProcess(path, ["-t", "-c", join(configuration, "nats-server.conf")], {
        cwd: deploy,
        env: folder.natsEnv("127.0.0.1:1"),
      });
      return (await child.ended) === 0;
    };
    expect(await check(older)).toBe(true);
    expect(await check(newer)).toBe(atLeast(version, 2, 10));
  });
});

describe("what containers are made of", () => {
  const compose = parse(read("compose.yaml"), { merge: true });

  it("compose.yaml is valid by the Compose specification, and a mistake in it is found", async () => {
    const python = await venvProgram("python");
    const script = join(ROOT, "test/support/check_compose.py");
    const wrong = join(deploy, "wrong-compose.yaml");
    const check = (file: string) => startProcess(python, [script, file], { cwd: deploy }).ended;
    expect(await check(join(deploy, "compose.yaml"))).toBe(0);
    for (const [right, mistake] of [
      ["image: redis", "imagee: redis"],
      ["networks: [stores, out]", "networks: [stores, outside]"],
    ] as const) {
      expect(read("compose.yaml")).toContain(right);
      writeFileSync(wrong, read("compose.yaml").replace(right, mistake));
      expect(await check(wrong), mistake).not.toBe(0);
    }
  });

  it("compose.yaml names files that there are or that make-secrets.sh makes", () => {
    const files = [
      ...Object.values(compose.secrets as Record<string, { file: string }>).map(({ file }) => file),
      ...Object.values(
        compose.services as Record<string, { volumes?: string[]; env_file?: string[] }>,
      ).flatMap(({ volumes = [], env_file = [] }) => [
        ...volumes.map((v) => v.split(":")[0] ?? "").filter((v) => v.startsWith("./")),
        ...env_file,
      ]),
    ];
    expect(files.length).toBeGreaterThan(10);
    expect(files.filter((file) => !existsSync(join(deploy, file)))).toEqual([]);
  });

  it("every service runs read-only, with no capability and no way to gain one", () => {
    for (const [name, service] of Object.entries(
      compose.services as Record<string, Record<string, unknown>>,
    )) {
      expect(service, name).toMatchObject({
        read_only: true,
        cap_drop: ["ALL"],
        security_opt: ["no-new-privileges:true"],
      });
    }
  });

  it("the image is built of files that there are, and runs as nobody in particular", () => {
    const lines = read("Dockerfile").replaceAll("\\\n", " ").split("\n");
    const sources = lines
      .filter((line) => line.startsWith("COPY ") && !line.includes("--from"))
      .flatMap((line) => line.split(/\s+/).slice(1, -1));
    expect(sources.filter((source) => !existsSync(join(ROOT, source)))).toEqual([]);
    const letIn = read("Dockerfile.dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    expect(sources.filter((source) => !letIn.includes(source))).toEqual([]);
    const last = lines.slice(lines.findLastIndex((line) => line.startsWith("FROM ")));
    expect(last).toContain("USER 10001:10001");
  });

  it("job.yaml is good, and a configuration that the image can read", async () => {
    const config = parseJobConfig(read("job.yaml"), { dir: "/" });
    expect(await resolveProviders(config)).toHaveLength(1);
  });
});

describe("Kubernetes manifests", () => {
  const files = readdirSync(join(ROOT, "deploy/kubernetes")).filter((name) =>
    name.endsWith(".yaml"),
  );

  it("are valid by the schemas of Kubernetes, strictly, and a mistake in one is found", async () => {
    const program = await venvProgram("kubernetes-validate");
    const validate = (paths: readonly string[]) =>
      startProcess(program, ["--strict", "-k", "1.33.0", ...paths], { cwd: deploy }).ended;
    expect(files.length).toBeGreaterThanOrEqual(7);
    expect(await validate(files.map((name) => join(deploy, "kubernetes", name)))).toBe(0);
    const wrong = join(deploy, "wrong.yaml");
    writeFileSync(
      wrong,
      read("kubernetes/coordinator.yaml").replace("livenessProbe", "livelinessProbe"),
    );
    expect(await validate([wrong])).not.toBe(0);
  });

  it("carry configurations that hold", async () => {
    const [job, agent] = parseAllDocuments(read("kubernetes/config.yaml")).map(
      (document) => document.toJS().data,
    );
    const config = parseJobConfig(job["job.yaml"], { dir: "/" });
    expect(await resolveProviders(config)).toHaveLength(1);
    expect(Object.keys(agent)).toEqual(["sidecar.yaml", "daemonset.yaml"]);
    for (const text of Object.values(agent as Record<string, string>))
      expect(parseAgentConfig(parse(text)).receivers).toHaveLength(1);
  });
});

describe("systemd units", () => {
  for (const unit of ["evergrant-coordinator.service", "evergrant-agent@.service"]) {
    it(`${unit} passes systemd-analyze verify, and its exposure is low`, async () => {
      const folder = join(deploy, `units-${unit}`);
      mkdirSync(folder);
      const file = join(folder, unit.replace("@.", "@etl."));
      // The package is not installed on this machine.
      writeFileSync(
        file,
        read("systemd", unit).replaceAll("/usr/bin/evergrant", join(ROOT, "bin/evergrant.mjs")),
      );
      const verified = startProcess("systemd-analyze", ["verify", "--man=no", file], {
        cwd: deploy,
      });
      expect([await verified.ended, verified.stdout(), verified.stderr()]).toEqual([0, "", ""]);
      const security = startProcess(
        "systemd-analyze",
        ["security", "--offline=true", "--threshold=20", file],
        { cwd: deploy },
      );
      expect(await security.ended, security.stdout()).toBe(0);
      // Control: a unit with a mistake is found.
      writeFileSync(
        file,
        read("systemd", unit).replace(/^ExecStart=.*$/m, "ExecStart=not/absolute"),
      );
      const wrong = startProcess("systemd-analyze", ["verify", "--man=no", file], { cwd: deploy });
      expect(await wrong.ended).not.toBe(0);
    });
  }
});
