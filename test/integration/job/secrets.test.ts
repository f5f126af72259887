/** I9: no secret byte leaves a process but to its issuer, its sealed envelope or its receiver. */
import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { beforeAll, describe, expect, it } from "vitest";
import { connectOperator } from "../../../src/operator/operator-client.ts";
import type { JoinFile, OperatorFile } from "../../../src/protocol/join.ts";
import { currentSet, groupKeyOf, type JobKeyFile } from "../../../src/protocol/keys.ts";
import { AUDIT_STREAM, subject } from "../../../src/protocol/subjects.ts";
import { seconds } from "../../../src/protocol/time.ts";
import { eventually } from "../../support/eventually.ts";
import { FAST, generationAt, memoryLogger, startJobRig } from "../../support/job-rig.ts";
import { startNats, startRedis, type TestServer } from "../../support/servers.ts";
import { tapWire } from "../../support/wire-tap.ts";
import { admin, dump } from "../redis/support.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  // Nothing may hide in compressed or encrypted files: the stores are read as they lie there.
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

/** A secret in every form that it might leak in. */
function formsOf(secret: string | Uint8Array): Buffer[] {
  const bytes = Buffer.from(secret);
  const texts = [bytes.toString("hex"), encodeURIComponent(bytes.toString("latin1"))];
  // In base64 the same bytes look different at each of three offsets; the ends depend on neighbours.
  for (const encoding of ["base64", "base64url"] as const) {
    for (const before of [0, 1, 2]) {
      const text = Buffer.concat([Buffer.alloc(before), bytes]).toString(encoding);
      texts.push(text.replace(/=+$/, "").slice(before + 1, -2));
    }
  }
  return [bytes, ...texts.map((text) => Buffer.from(text))];
}

/** Names of the secrets that are found in any form. */
function found(secrets: ReadonlyMap<string, string | Uint8Array>, haystack: Buffer): string[] {
  return [...secrets].flatMap(([name, secret]) =>
    formsOf(secret).some((form) => haystack.includes(form)) ? [name] : [],
  );
}

/** Every byte of every file in a folder. */
function filesIn(dir: string): Buffer {
  return Buffer.concat(
    readdirSync(dir, { withFileTypes: true, recursive: true }).flatMap((entry) =>
      entry.isFile() ? [readFileSync(join(entry.parentPath, entry.name))] : [],
    ),
  );
}

describe("a whole job at debug level", () => {
  it("shows none of its secrets in logs, metrics, answers, Redis, NATS or on the wire (I9)", async () => {
    const [natsTap, redisTap] = await Promise.all([tapWire(nats.port), tapWire(redis.port)]);
    const rig = await startJobRig({
      nats,
      redis,
      job: "secrets",
      lifetimeMs: 7000,
      // What is denied is asked for again soon, even if the credential has ended meanwhile.
      yaml: `${FAST.replace("retryFirstSec: 1", "retryFirstSec: 1, retryMaxSec: 2")}\nlog: {level: debug}`,
      stores: `nats: {servers: ["nats://127.0.0.1:${natsTap.port}"]}\nredis: {url: "redis://127.0.0.1:${redisTap.port}"}`,
    });
    const secrets = new Map<string, string | Uint8Array>();
    const coordinator = await rig.coordinator();
    await coordinator.ready();
    const agent = await rig.agent({ logger: memoryLogger(rig.logs) });
    agent.events.on("credential", ({ generation, material }) => {
      const { secretAccessKey = "", sessionToken = "" } = material.reveal() as Record<
        string,
        string
      >;
      secrets.set(`secret key of ${generation}`, secretAccessKey);
      secrets.set(`session token of ${generation}`, sessionToken);
    });
    const sidecar = await rig.sidecar({
      logger: memoryLogger(rig.logs),
      config: { stateDir: join(rig.dir, "state"), status: { port: 0 }, name: "sidecar" },
    });
    await sidecar.ready(10_000);
    const operator = await connectOperator(coordinator.operatorFile);
    rig.atEnd(() => operator.close());
    await operator.rotate({ text: "drill", wait: seconds(20) });
    // Failures speak more than successes do: let every kind of them happen.
    rig.sts.knobs.deny = 1;
    rig.sts.knobs.garbage = 1;
    const { generation } = coordinator.status();
    await generationAt(agent, generation + 1);
    const raw = await connect({ servers: [nats.url] });
    rig.atEnd(() => raw.close());
    const id = { tenant: "default", job: "secrets" };
    raw.publish(subject.agent(id, "register", "x"), "nonsense", { reply: "_INBOX.x" });
    await eventually(() => Object.keys(coordinator.status().refused).length > 0);
    await eventually(() => coordinator.status().agents.upToDate === 2);

    const file = async <T>(path: string): Promise<T> =>
      JSON.parse(await readFile(path, "utf8")) as T;
    const jobKey = await file<JobKeyFile>(join(rig.dir, "run", "job-key.json"));
    const set = currentSet(jobKey);
    secrets.set("signing key", Buffer.from(set.signing.jwk.d, "base64url"));
    secrets.set("registration key", Buffer.from(set.registration.jwk.d, "base64url"));
    secrets.set("state key", Buffer.from(set.stateKey.key, "base64url"));
    secrets.set("MAC root", Buffer.from(set.macRoot, "base64url"));
    secrets.set("join token", (await file<JoinFile>(rig.joinFile)).token);
    const { key } = await file<OperatorFile>(coordinator.operatorFile);
    secrets.set("operator's key", Buffer.from(key.jwk.d, "base64url"));
    secrets.set("base secret key", rig.sts.baseCredentials.secretAccessKey.reveal());
    const wire = Buffer.concat([natsTap.captured(), redisTap.captured()]);
    for (const kid of kidsIn(wire)) secrets.set(`group key ${kid}`, groupKeyOf(set, id, kid).key);
    expect([...secrets.keys()].filter((name) => name.startsWith("group key")).length).toBe(1);
    expect(secrets.size).toBeGreaterThanOrEqual(7 + 1 + 2 * 3);

    const metrics = async (url: string | undefined) => await (await fetch(`${url}/metrics`)).text();
    const places: Record<string, () => Promise<Buffer> | Buffer> = {
      logs: () => Buffer.from(rig.logs.join("\n")),
      metrics: async () =>
        Buffer.from((await metrics(coordinator.statusUrl)) + (await metrics(sidecar.statusUrl))),
      answers: async () =>
        Buffer.from(JSON.stringify([await operator.status(), await operator.agents()])),
      redis: async () => Buffer.from((await dump(redis.url)).join("\n")),
      "the files of Redis": () => filesIn(redis.dir),
      "the files of NATS": () => filesIn(nats.dir),
      "the wire": () => Buffer.concat([natsTap.captured(), redisTap.captured()]),
    };
    for (const [place, read] of Object.entries(places)) {
      const content = await read();
      expect(content.length, place).toBeGreaterThan(100);
      expect(found(secrets, content), place).toEqual([]);
    }
    // Among the files are the audit's: the scan has looked at something.
    const stored = filesIn(nats.dir).toString("latin1");
    for (const known of [AUDIT_STREAM, "rotation-requested", "obtain-failed"]) {
      expect(stored).toContain(known);
    }

    // Negative control: planted in each place, each in another form, all are found.
    const planted = "planted-secret-of-forty-characters-0123456";
    const control = new Map([["planted", planted]]);
    rig.logs.push(JSON.stringify({ message: `oops ${planted}` }));
    const through = await connect({ servers: [`nats://127.0.0.1:${natsTap.port}`] });
    through.publish(subject.audit(id), Buffer.from(`x${planted}`).toString("base64url"));
    await through.flush();
    await through.close();
    await admin(`redis://127.0.0.1:${redisTap.port}`, (client) =>
      client.set("oops", Buffer.from(planted).toString("hex")),
    );
    for (const place of ["logs", "redis", "the files of NATS", "the wire"] as const) {
      await eventually(
        async () => found(control, (await places[place]?.()) ?? Buffer.of()).length === 1,
      );
    }
  });
});

/** The group keys that bundles on the wire name, in the readable header within the signature. */
function kidsIn(wire: Buffer): Set<string> {
  const kids = new Set<string>();
  for (const [, payload = ""] of wire
    .toString("latin1")
    .matchAll(/eyJ[\w-]+\.([\w-]{40,})\.[\w-]{86}/g)) {
    const [head = ""] = Buffer.from(payload, "base64url").toString("latin1").split(".");
    try {
      const { kid, typ } = JSON.parse(Buffer.from(head, "base64url").toString("utf8")) as Record<
        string,
        string
      >;
      if (typ === "evergrant-bundle" && kid !== undefined) kids.add(kid);
    } catch {
      // Another document of ours: a notice, an answer, a token.
    }
  }
  return kids;
}
