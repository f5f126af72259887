/**
 * What deploy/ ships, used as it is: the server configurations are started and a whole job runs on
 * them, and what needs a cluster, a container engine or systemd is held to their own schemas and checks.
 */
import { execFile } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { parseJobConfig, resolveProviders } from "../../src/coordinator/config.ts";
import { freePort } from "../../src/embedded/answers.ts";
import { findServer } from "../../src/embedded/find-server.ts";
import { type StsEmulator, startStsEmulator } from "../../src/emulators/aws-sts/server.ts";
import { accessFromBroker } from "../../src/nats/access.ts";
import type { BrokerEvent } from "../../src/nats/broker-events.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { usersConfig } from "../../src/nats/users-config.ts";
import { utf8 } from "../../src/protocol/encoding.ts";
import { permissionsOf, type Role } from "../../src/protocol/permissions.ts";
import { seconds } from "../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import { parseAgentConfig } from "../../src/worker-agent/config.ts";
import { eventually } from "../support/eventually.ts";
import {
  type EvergrantProcess,
  evergrant,
  runEvergrant,
  startProcess,
} from "../support/evergrant-process.ts";
import { ROOT } from "../support/packed-package.ts";
import { venvProgram } from "../support/validators.ts";

const run = promisify(execFile);
const ID = { tenant: "default", job: "etl" };
const read = (...path: string[]): string => readFileSync(join(ROOT, "deploy", ...path), "utf8");

let deploy: string;
const secret = (name: string): string => readFileSync(join(deploy, "secrets", name), "utf8");

/** A copy of deploy/ in which make-secrets.sh has run. No blank in its path: NATS reads paths from variables as words. */
beforeAll(async () => {
  deploy = join(mkdtempSync(join(tmpdir(), "evergrant-deploy-")), "deploy");
  cpSync(join(ROOT, "deploy"), deploy, {
    recursive: true,
    filter: (path) => !["secrets", "spark"].includes(basename(path)),
  });
  const command = `${process.execPath} -- ${join(ROOT, "bin/evergrant.mjs")}`;
  await run(join(deploy, "make-secrets.sh"), [], { env: { ...process.env, EVERGRANT: command } });
});
afterAll(() => rmSync(join(deploy, ".."), { recursive: true, force: true }));

describe("the shipped NATS and Redis configurations", () => {
  let natsPort: number;
  let redisPort: number;
  let sts: StsEmulator;
  let nats: EvergrantProcess;

  beforeAll(async () => {
    [natsPort, redisPort] = [await freePort(), await freePort()];
    sts = await startStsEmulator({
      clock: systemClock,
      random: systemRandom,
      knobs: { lifetimeMs: 3_600_000 },
    });
    const file = (name: string): string => join(deploy, "secrets", name);
    const natsEnv = Object.fromEntries(
      secret("nats.env")
        .trim()
        .split("\n")
        .map((line) => line.split("=") as [string, string]),
    );
    nats = startProcess(
      (await findServer("nats-server")).path,
      ["-c", join(deploy, "nats/nats-server.conf")],
      {
        cwd: deploy,
        env: {
          ...natsEnv,
          EVERGRANT_NATS_LISTEN: `127.0.0.1:${natsPort}`,
          EVERGRANT_NATS_STORE: join(deploy, "jetstream"),
          EVERGRANT_NATS_TLS_CERT: file("nats.pem"),
          EVERGRANT_NATS_TLS_KEY: file("nats.key"),
        },
      },
    );
    mkdirSync(join(deploy, "redis-data"));
    const redis = startProcess(
      (await findServer("redis-server")).path,
      [
        join(deploy, "redis/redis.conf"),
        ...[
          "--bind",
          "127.0.0.1",
          "--tls-port",
          String(redisPort),
          "--dir",
          join(deploy, "redis-data"),
        ],
        ...["--aclfile", file("users.acl"), "--tls-ca-cert-file", file("ca.pem")],
        ...["--tls-cert-file", file("redis.pem"), "--tls-key-file", file("redis.key")],
      ],
      { cwd: deploy },
    );
    await eventually(() => nats.stderr().includes("Server is ready") || !nats.running);
    await eventually(
      () => redis.stdout().includes("Ready to accept connections") || !redis.running,
    );
    expect([nats.running, redis.running], nats.stderr() + redis.stdout()).toEqual([true, true]);
  });
  afterAll(() => sts.stop());

  it("carry a whole job: coordinator, standby, agent and operator, over TLS, each as its own user", async () => {
    const text = read("job.yaml")
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
      "--job-key",
      join(deploy, "secrets/job-key.json"),
      "--join-file",
      join(deploy, "join.json"),
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
      {
        cwd: deploy,
      },
    );
    expect(rotated.code, rotated.stderr).toBe(0);
    expect(JSON.parse(rotated.stdout)).toMatchObject({ state: "done", applied: 1, missing: [] });
    expect(sts.count("AssumeRole", "ok")).toBe(2);
    // The plan is in Redis, under the one prefix that its user reaches.
    const admin = redisClient("evergrant", secret("redis-password"));
    expect(await admin.exists("evergrant:{default.etl}:default.etl:meta")).toBe(1);
    admin.disconnect();
    const warnings = [first, second, agent].flatMap((p) =>
      p
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

  const redisClient = (username: string | undefined, password: string | undefined): Redis => {
    const client = new Redis({
      host: "127.0.0.1",
      port: redisPort,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      tls: { ca: secret("ca.pem") },
      lazyConnect: true,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      enableReadyCheck: false,
    });
    client.on("error", () => undefined);
    return client;
  };

  it("Redis lets nobody in without a password, and evergrant to its own keys and no command for administrators", async () => {
    const nobody = redisClient(undefined, undefined);
    await expect(nobody.call("PING")).rejects.toThrow(/NOAUTH|NOPERM/);
    nobody.disconnect();
    const wrong = redisClient("evergrant", "guess");
    await expect(wrong.get("evergrant:x")).rejects.toThrow();
    wrong.disconnect();
    const own = redisClient("evergrant", secret("redis-password"));
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
      port: redisPort,
      lazyConnect: true,
      retryStrategy: () => null,
    });
    plain.on("error", () => undefined);
    await expect(plain.connect()).rejects.toThrow();
    plain.disconnect();
  });

  interface Client {
    readonly broker: Broker;
    readonly refused: string[];
  }

  const connectAs = async (role: Role): Promise<Client> => {
    const refused: string[] = [];
    const broker = await connectNats({
      role,
      id: ID,
      name: "probe",
      access: accessFromBroker({
        servers: [`tls://127.0.0.1:${natsPort}`],
        user: `default.etl.${role}`,
        password: secret(`nats-${role}-password`),
        caPem: secret("ca.pem"),
      }),
      clock: systemClock,
      startTimeout: seconds(10),
      onEvent: (event: BrokerEvent) => {
        if (event.kind === "fault" && event.fault.kind === "permission")
          refused.push(event.fault.subject);
      },
    });
    return { broker, refused };
  };
  /** The server's answer comes before that of the flush after it. */
  const refuses = async ({ broker, refused }: Client, act: () => void): Promise<boolean> => {
    const before = refused.length;
    act();
    await broker.nc.flush();
    await broker.nc.flush();
    return refused.length > before;
  };

  it("NATS lets nobody in without a password or without TLS", async () => {
    for (const broker of [
      { servers: [`tls://127.0.0.1:${natsPort}`], caPem: secret("ca.pem") },
      {
        servers: [`tls://127.0.0.1:${natsPort}`],
        caPem: secret("ca.pem"),
        user: "default.etl.agent",
        password: "guess",
      },
    ]) {
      const connecting = connectNats({
        role: "agent",
        id: ID,
        name: "x",
        access: accessFromBroker(broker),
        clock: systemClock,
        startTimeout: seconds(1),
      });
      await expect(connecting).rejects.toThrow(/START_TIMEOUT|BROKER_UNAVAILABLE/);
    }
    expect(nats.stderr()).toContain("authentication error");
  });

  const ROLES = ["coordinator", "agent", "operator"] as const;
  /** Every subject that some role of this or another job may use, and what none may. */
  const everySubject = (kind: "publish" | "subscribe"): string[] => [
    ...new Set([
      ...ROLES.flatMap((role) => permissionsOf(role, ID, "probe")[kind].allow),
      ...ROLES.flatMap(
        (role) => permissionsOf(role, { tenant: "default", job: "other" }, "probe")[kind].allow,
      ),
      ...[
        "$JS.API.STREAM.DELETE.KV_evergrant_leases",
        "$JS.API.STREAM.PURGE.KV_evergrant_state",
        "$JS.API.STREAM.LIST",
      ],
      ...[
        "$JS.API.CONSUMER.CREATE.KV_evergrant_state",
        "$SYS.REQ.SERVER.PING",
        "_INBOX.x",
        "evergrant.v1.job.default.etl.ack",
      ],
      ...(kind === "subscribe" ? [">", "$KV.>", "_INBOX_eg.>", "evergrant.v1.>"] : []),
    ]),
  ];

  for (const role of ROLES) {
    it(`NATS refuses ${role}s what the permission table does not allow, and nothing else`, async () => {
      const table = permissionsOf(role, ID, "*");
      const client = await connectAs(role);
      const { nc } = client.broker;
      const token = (subject: string): string => subject.replaceAll("*", "x").replace(/>$/, "x");
      const wrong: string[] = [];
      let refusals = 0;
      for (const subject of everySubject("publish").map(token)) {
        const allowed = table.publish.allow.some((pattern) => matches(pattern, subject));
        const refused = await refuses(client, () => nc.publish(subject, utf8("x")));
        if (refused === allowed) wrong.push(`publish ${subject}`);
        if (refused) refusals += 1;
      }
      for (const subject of everySubject("subscribe")) {
        const allowed = table.subscribe.allow.some((pattern) => matches(pattern, subject));
        const refused = await refuses(
          client,
          () => void nc.subscribe(subject, { callback: () => undefined }),
        );
        if (refused === allowed) wrong.push(`subscribe ${subject}`);
        if (refused) refusals += 1;
      }
      await client.broker.close();
      expect(wrong).toEqual([]);
      expect(refusals).toBeGreaterThan(20);
    });
  }

  it("are what the permission table says now", () => {
    expect(read("nats/users.conf")).toBe(usersConfig({ id: ID, agents: [] }));
  });

  it("NATS 2.9 refuses the setting of newer servers, which therefore stands in a file of its own", async () => {
    const newer = join(deploy, "nats-2.10");
    cpSync(join(deploy, "nats"), newer, { recursive: true });
    cpSync(join(newer, "durability-2.10.conf"), join(newer, "durability.conf"));
    const { path, version } = await findServer("nats-server");
    const env = {
      EVERGRANT_NATS_LISTEN: "127.0.0.1:1",
      EVERGRANT_NATS_STORE: deploy,
      EVERGRANT_NATS_TLS_CERT: join(deploy, "secrets/nats.pem"),
      EVERGRANT_NATS_TLS_KEY: join(deploy, "secrets/nats.key"),
    };
    const passwords = Object.fromEntries(
      secret("nats.env")
        .trim()
        .split("\n")
        .map((line) => line.split("=") as [string, string]),
    );
    const check = async (folder: string): Promise<boolean> => {
      const child = startProcess(path, ["-t", "-c", join(folder, "nats-server.conf")], {
        cwd: deploy,
        env: { ...env, ...passwords },
      });
      return (await child.ended) === 0;
    };
    expect(await check(join(deploy, "nats"))).toBe(true);
    expect(await check(newer)).toBe(version[0] > 2 || version[1] >= 10);
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

/** NATS's own rule: `*` is one token, `>` the rest. */
function matches(pattern: string, subject: string): boolean {
  const want = pattern.split(".");
  const have = subject.split(".");
  for (const [index, token] of want.entries()) {
    if (token === ">") return have.length > index;
    const there = have[index];
    if (there === undefined) return false;
    if (token === "*") {
      if (there === ">") return false;
    } else if (token !== there) return false;
  }
  return want.length === have.length;
}
