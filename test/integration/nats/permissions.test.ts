/** The permission table at a real server: each role can do what it needs, and nothing else. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { Msg } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { natsAudit } from "../../../src/coordinator/adapters/nats-audit/nats-audit.ts";
import { natsLink } from "../../../src/coordinator/adapters/nats-link/nats-link.ts";
import { natsRegister } from "../../../src/coordinator/adapters/nats-register/nats-register.ts";
import type { LinkEvent } from "../../../src/coordinator/ports/agent-link.ts";
import type { Reading } from "../../../src/coordinator/ports/cas-register.ts";
import { type BucketKind, openBucket } from "../../../src/nats/nats-kv.ts";
import type { AuditEvent } from "../../../src/protocol/audit.ts";
import { openAnswer, sealCommand } from "../../../src/protocol/control.ts";
import { fromBase64Url, utf8 } from "../../../src/protocol/encoding.ts";
import {
  createSigningKey,
  currentSet,
  newGroupKid,
  publicPart,
} from "../../../src/protocol/keys.ts";
import { openNotice } from "../../../src/protocol/notice.ts";
import type { Done, Outcome } from "../../../src/protocol/outcome.ts";
import { permissionsOf } from "../../../src/protocol/permissions.ts";
import { openRegisterReply, sealRegister } from "../../../src/protocol/register.ts";
import { encodeReport, type Report } from "../../../src/protocol/report.ts";
import {
  AUDIT_STREAM,
  BUCKET,
  inboxPrefix,
  jobKey,
  subject,
} from "../../../src/protocol/subjects.ts";
import { systemRandom } from "../../../src/runtime/system-clock.ts";
import {
  connectAs,
  registerBody,
  type TestClient,
  type TestJob,
  testJob,
  userOf,
} from "../../support/nats-job.ts";
import { startNats, type TestServer } from "../../support/servers.ts";

const OTHER = { tenant: "acme", job: "other" };

let server: TestServer;
let job: TestJob;
let coordinator: TestClient;
let agent: TestClient;
let operator: TestClient;
/** May do anything, as whoever runs the broker may. */
let admin: TestClient;

beforeAll(async () => {
  job = await testJob();
  const { id } = job;
  server = await startNats({
    users: [
      userOf("coordinator", id, "c1"),
      userOf("coordinator", OTHER, "c1"),
      userOf("agent", id, "a1"),
      userOf("agent", id, "a2"),
      userOf("operator", id, "op"),
      { user: "etl-operator-admin", password: "etl-operator-admin" },
    ],
  });
  coordinator = await connectAs(server.url, "coordinator", id, "c1");
  agent = await connectAs(server.url, "agent", id, "a1");
  operator = await connectAs(server.url, "operator", id, "op");
  admin = await connectAs(server.url, "operator", id, "admin");
});
afterAll(async () => {
  await Promise.all([coordinator, agent, operator, admin].map((client) => client.broker.close()));
});

const done = <T>(call: (done: Done<T>) => void): Promise<T> =>
  new Promise((resolve, reject) =>
    call((outcome: Outcome<T>) => (outcome.ok ? resolve(outcome.value) : reject(outcome.error))),
  );

const permissionFaults = (client: TestClient): string[] =>
  client.events.flatMap((event) =>
    event.kind === "fault" && event.fault.kind === "permission" ? [event.fault.subject] : [],
  );

/** Whether the server refused what `act` did: its answer comes before that of the flush after it. */
async function refuses(client: TestClient, act: () => void): Promise<boolean> {
  const before = permissionFaults(client).length;
  act();
  await client.broker.nc.flush();
  await client.broker.nc.flush();
  return permissionFaults(client).length > before;
}
const mayPublish = async (client: TestClient, to: string): Promise<boolean> =>
  !(await refuses(client, () => client.broker.nc.publish(to, utf8("x"))));
async function mayHear(client: TestClient, on: string): Promise<boolean> {
  let subscription: { unsubscribe(): void; isClosed(): boolean } | undefined;
  const refused = await refuses(client, () => {
    subscription = client.broker.nc.subscribe(on, { callback: () => undefined });
  });
  if (subscription?.isClosed() === false) subscription.unsubscribe();
  return !refused;
}

describe("what each role needs is allowed", () => {
  it("a coordinator makes, reads and writes its keys of the three buckets and removes them", async () => {
    for (const kind of Object.keys(BUCKET) as BucketKind[]) {
      const bucket = await openBucket(coordinator.broker, kind);
      const register = natsRegister(bucket, jobKey(job.id));
      const revision = await done<number>((d) => register.write(undefined, utf8("one"), d));
      await done<number>((d) => register.write(revision, utf8("two"), d));
      const reading = await done<Reading<Uint8Array>>((d) => register.read(d));
      expect(Buffer.from(reading.entry?.value ?? []).toString()).toBe("two");
      await done<void>((d) => register.remove(d));
    }
    expect(permissionFaults(coordinator)).toEqual([]);
  });

  it("an agent hears the bundle as it is stored", async () => {
    const heard = new Promise<Msg>((resolve) => {
      agent.broker.nc.subscribe(subject.bundle(job.id), {
        max: 1,
        callback: (_error, message) => resolve(message),
      });
    });
    await agent.broker.nc.flush();
    const bucket = await openBucket(coordinator.broker, "bundle");
    const register = natsRegister(bucket, jobKey(job.id));
    await done<number>((d) => register.write(undefined, utf8("sealed"), d));
    expect((await heard).string()).toBe("sealed");
    await done<void>((d) => register.remove(d));
    expect(permissionFaults(agent)).toEqual([]);
  });

  it("an agent registers, reports and is pushed to and told; an operator commands; each gets its answer", async () => {
    const { id, keys, publicKeys } = job;
    const link = natsLink({
      broker: coordinator.broker,
      id,
      keys,
      operators: [publicPart(job.operator)],
    });
    const events: LinkEvent[] = [];
    const waiting = new Map<string, (event: LinkEvent) => void>();
    const next = <K extends LinkEvent["kind"]>(kind: K) =>
      new Promise<Extract<LinkEvent, { kind: K }>>((resolve) =>
        waiting.set(kind, (event) => resolve(event as Extract<LinkEvent, { kind: K }>)),
      );
    const connected = next("connected");
    link.attend(true);
    link.listen((event) => {
      events.push(event);
      const resolve = waiting.get(event.kind);
      waiting.delete(event.kind);
      resolve?.(event);
    });
    await connected;

    const own = await createSigningKey(systemRandom);
    const body = await registerBody(job, "a1", own);
    const registering = next("register");
    const replying = agent.broker.nc.request(
      subject.agent(id, "register", "a1"),
      await sealRegister(body, own, publicKeys.registration),
      { timeout: 5000 },
    );
    const asked = await registering;
    expect(asked.admission.kind).toBe("token");
    await done<void>((d) =>
      link.answerRegister(
        asked.request,
        {
          accepted: true,
          term: 7,
          generation: 3,
          timeMs: 1_700_000_000_000,
          groupKids: [newGroupKid(currentSet(job.file), systemRandom)],
          beatMs: 15_000,
          bundle: utf8("sealed"),
        },
        d,
      ),
    );
    const answer = await openRegisterReply((await replying).data, body, publicKeys.signing);
    if (!answer.accepted) throw new Error(answer.code);
    expect(answer.body).toMatchObject({ term: 7, generation: 3, beatMs: 15_000 });

    const macKey = fromBase64Url(answer.body.macKey);
    const head = { v: 1, agent: "a1", instance: body.instance, term: 7, generation: 3 } as const;
    const reports: Report[] = [
      { ...head, type: "ack", sequence: 1, results: [] },
      { ...head, type: "beat", sequence: 2, runwayMs: {}, failing: {}, refused: {} },
      { ...head, type: "demand", sequence: 3, provider: "lake", rejected: 3 },
    ];
    for (const report of reports) {
      const heard = next("report");
      const to = subject.agent(id, report.type, "a1");
      agent.broker.nc.publish(to, encodeReport(report, to, macKey));
      expect((await heard).report).toEqual(report);
    }

    const hear = (on: string) =>
      new Promise<Msg>((resolve) => {
        agent.broker.nc.subscribe(on, { max: 1, callback: (_e, message) => resolve(message) });
      });
    const pushed = hear(subject.push(id, "a1"));
    const told = hear(subject.notice(id));
    await agent.broker.nc.flush();
    await done<void>((d) => link.push(["a1", "a2"], utf8("sealed again"), d));
    expect((await pushed).string()).toBe("sealed again");
    const notice = {
      v: 1,
      ...id,
      term: 7,
      sequence: 1,
      timeMs: 5,
      what: { kind: "report" },
    } as const;
    await done<void>((d) => link.notify(notice, d));
    expect(await openNotice((await told).data, id, publicKeys.signing)).toEqual(notice);

    const commanded = next("command");
    const command = {
      v: 1,
      ...id,
      operator: "op",
      nonce: "0123456789abcdef",
      issuedAtMs: 1,
      notAfterMs: 2,
      command: { kind: "end" },
    } as const;
    const answering = operator.broker.nc.request(
      subject.control(id),
      await sealCommand(command, job.operator),
      { timeout: 5000 },
    );
    const heard = await commanded;
    expect(heard.envelope).toEqual(command);
    const reply = {
      v: 1,
      nonce: command.nonce,
      term: 7,
      sequence: 1,
      timeMs: 3,
      answer: { kind: "ending" },
    } as const;
    await done<void>((d) => link.answerCommand(heard.request, reply, d));
    expect(await openAnswer((await answering).data, publicKeys.signing)).toEqual(reply);

    await done<void>((d) => link.close(d));
    expect(events.filter((event) => event.kind === "refused")).toEqual([]);
    for (const client of [coordinator, agent, operator])
      expect(permissionFaults(client)).toEqual([]);
  });

  it("a coordinator writes the audit, and whoever runs the broker reads it", async () => {
    const sink = natsAudit({ broker: coordinator.broker, random: systemRandom });
    const event = (timeMs: number): AuditEvent => ({
      v: 1,
      ...job.id,
      term: 7,
      timeMs,
      event: "obtained",
    });
    for (const timeMs of [1, 2, 3]) sink.record(event(timeMs));
    await done<void>((d) => sink.close(d));
    expect(sink.counts()).toEqual({ waiting: 0, stored: 3, dropped: 0 });
    const jsm = await jetstreamManager(admin.broker.nc);
    const last = await jsm.streams.getMessage(AUDIT_STREAM, {
      last_by_subj: subject.audit(job.id),
    });
    expect(last?.json()).toEqual(event(3));
    expect(permissionFaults(coordinator)).toEqual([]);
  });
});

describe("everything else is refused", () => {
  const key = "acme.etl";
  const kv = (bucket: string, name = key) => `$KV.${bucket}.${name}`;
  const id = { tenant: "acme", job: "etl" };
  const writes = Object.values(BUCKET).map((bucket) => kv(bucket));
  const api = (verb: string) => `$JS.API.${verb}`;
  const destructive = Object.values(BUCKET).flatMap((bucket) =>
    ["DELETE", "PURGE", "UPDATE", "MSG.DELETE", "SNAPSHOT", "RESTORE"].map((verb) =>
      api(`STREAM.${verb}.KV_${bucket}`),
    ),
  );

  it("the probe itself tells what is allowed from what is not", async () => {
    expect(await mayPublish(agent, subject.agent(id, "beat", "a1"))).toBe(true);
    expect(await mayHear(agent, subject.notice(id))).toBe(true);
    expect(await mayPublish(operator, subject.control(id))).toBe(true);
    expect(await mayHear(coordinator, subject.control(id))).toBe(true);
  });

  it.each([
    ...writes,
    ...destructive,
    subject.bundle(id),
    subject.notice(id),
    subject.control(id),
    subject.audit(id),
    subject.push(id, "a2"),
    subject.push(id, "a1"),
    ...(["register", "ack", "beat", "demand"] as const).map((verb) =>
      subject.agent(id, verb, "a2"),
    ),
    subject.agent(OTHER, "register", "a1"),
    api(`DIRECT.GET.KV_${BUCKET.bundle}`),
    api(`DIRECT.GET.KV_${BUCKET.bundle}.${kv(BUCKET.bundle)}`),
    api("INFO"),
    api(`STREAM.MSG.GET.KV_${BUCKET.state}`),
    api(`STREAM.MSG.GET.KV_${BUCKET.bundle}`),
    api(`STREAM.INFO.KV_${BUCKET.bundle}`),
    api(`CONSUMER.CREATE.KV_${BUCKET.bundle}`),
    api(`STREAM.CREATE.X`),
    `${inboxPrefix(id, "agent", "a2")}.x`,
    `${inboxPrefix(id, "coordinator", "c1")}.x`,
  ])("an agent says nothing on %s", async (to) => {
    expect(await mayPublish(agent, to)).toBe(false);
  });

  it.each([
    ">",
    "evergrant.v1.>",
    "$KV.>",
    subject.agent(id, "register", "*"),
    subject.agent(id, "beat", "a1"),
    subject.control(id),
    subject.audit(id),
    subject.push(id, "a2"),
    subject.push(id, "*"),
    subject.bundle(OTHER),
    subject.bundle({ tenant: "acme", job: "*" }),
    `${inboxPrefix(id, "agent", "a2")}.>`,
    `${inboxPrefix(id, "agent", "*")}.>`,
    `${inboxPrefix(id, "operator", "op")}.>`,
    "_INBOX.>",
  ])("an agent hears nothing on %s", async (on) => {
    expect(await mayHear(agent, on)).toBe(false);
  });

  it.each([
    ...writes,
    ...destructive,
    subject.agent(id, "register", "op"),
    subject.agent(id, "ack", "a1"),
    subject.notice(id),
    subject.bundle(id),
    subject.audit(id),
    subject.control(OTHER),
    api("INFO"),
    api(`DIRECT.GET.KV_${BUCKET.bundle}.${kv(BUCKET.bundle)}`),
    api(`STREAM.DELETE.${AUDIT_STREAM}`),
    api(`STREAM.PURGE.${AUDIT_STREAM}`),
    api(`STREAM.MSG.GET.${AUDIT_STREAM}`),
    api(`CONSUMER.CREATE.${AUDIT_STREAM}.x.${subject.audit(id)}`),
    api(`CONSUMER.CREATE.${AUDIT_STREAM}.x.${subject.audit(OTHER)}`),
    `$JS.FC.${AUDIT_STREAM}.x`,
    api(`CONSUMER.CREATE.${AUDIT_STREAM}.x.>`),
    api(`CONSUMER.CREATE.${AUDIT_STREAM}`),
  ])("an operator says nothing on %s", async (to) => {
    expect(await mayPublish(operator, to)).toBe(false);
  });

  it.each([
    ">",
    subject.bundle(id),
    subject.notice(id),
    subject.agent(id, "register", "*"),
    subject.audit(id),
    subject.audit(OTHER),
    `${inboxPrefix(id, "agent", "a1")}.>`,
  ])("an operator hears nothing on %s", async (on) => {
    expect(await mayHear(operator, on)).toBe(false);
  });

  it.each([
    ...Object.values(BUCKET).map((bucket) => kv(bucket, "acme.other")),
    ...Object.values(BUCKET).map((bucket) => kv(bucket, ">")),
    ...destructive,
    api(`STREAM.DELETE.${AUDIT_STREAM}`),
    api(`STREAM.PURGE.${AUDIT_STREAM}`),
    api(`STREAM.UPDATE.${AUDIT_STREAM}`),
    subject.notice(OTHER),
    subject.push(OTHER, "a1"),
    subject.bundle(id),
    subject.agent(id, "beat", "a1"),
    subject.agent(id, "register", "a1"),
    subject.control(id),
    subject.audit(OTHER),
    `${inboxPrefix(OTHER, "agent", "a1")}.x`,
    `${inboxPrefix(id, "coordinator", "c2")}.x`,
    "_INBOX.x",
  ])("a coordinator says nothing on %s", async (to) => {
    expect(await mayPublish(coordinator, to)).toBe(false);
  });

  it.each([
    ">",
    subject.agent(OTHER, "register", "*"),
    subject.control(OTHER),
    `${inboxPrefix(id, "agent", "a1")}.>`,
    `${inboxPrefix(OTHER, "coordinator", "c1")}.>`,
  ])("a coordinator hears nothing on %s", async (on) => {
    expect(await mayHear(coordinator, on)).toBe(false);
  });

  // JetStream answers to the reply subject that a request names, whatever it is, and with its own rights.
  describe("no reply subject makes the server write a key of a bucket", () => {
    const foreign = kv(BUCKET.lease, "acme.other");
    const replies = [
      foreign,
      ...Object.values(BUCKET).flatMap((b) => [kv(b), kv(b, "acme.other")]),
    ];
    const bundleOf = { last_by_subj: kv(BUCKET.bundle) };
    const consumer = {
      stream_name: AUDIT_STREAM,
      config: { deliver_policy: "all", ack_policy: "none", deliver_subject: foreign },
    };
    /** A request for everything that JetStream offers, and what it needs to be answered. */
    const requests: readonly (readonly [string, object?])[] = [
      [api("INFO")],
      [api("STREAM.NAMES")],
      [api("STREAM.LIST")],
      [api(`STREAM.INFO.KV_${BUCKET.bundle}`)],
      [api(`STREAM.MSG.GET.KV_${BUCKET.bundle}`), bundleOf],
      [api(`DIRECT.GET.KV_${BUCKET.bundle}`), bundleOf],
      [api(`DIRECT.GET.KV_${BUCKET.bundle}.${kv(BUCKET.bundle)}`)],
      [api(`CONSUMER.CREATE.${AUDIT_STREAM}`), consumer],
      [api(`CONSUMER.CREATE.${AUDIT_STREAM}.x.${subject.audit(id)}`), consumer],
      [api(`CONSUMER.DURABLE.CREATE.${AUDIT_STREAM}.x`), consumer],
      [api(`CONSUMER.NAMES.${AUDIT_STREAM}`)],
      [api(`CONSUMER.MSG.NEXT.${AUDIT_STREAM}.x`)],
      [`$JS.FC.${AUDIT_STREAM}.x`],
      [`$JS.ACK.${AUDIT_STREAM}.x.1.1.1.1.1`],
      ["$SYS.REQ.USER.INFO"],
      [subject.audit(id)],
    ];
    const sequences = async (): Promise<Record<string, number>> => {
      const jsm = await jetstreamManager(admin.broker.nc);
      const all = Object.values(BUCKET).map(async (bucket) => {
        const { state } = await jsm.streams.info(`KV_${bucket}`);
        return [bucket, state.last_seq] as const;
      });
      return Object.fromEntries(await Promise.all(all));
    };
    const ask = async ({ broker }: TestClient, to: string, reply: string, body?: object) => {
      broker.nc.publish(to, body === undefined ? "" : JSON.stringify(body), { reply });
      await broker.nc.flush();
    };

    beforeAll(async () => {
      const bucket = await openBucket(coordinator.broker, "bundle");
      await bucket.kv.put(jobKey(job.id), utf8("sealed"));
    });

    it("the probe itself: who may ask JetStream can overwrite any lease", async () => {
      const before = await sequences();
      await ask(admin, api(`STREAM.MSG.GET.KV_${BUCKET.bundle}`), foreign, bundleOf);
      await ask(admin, api("INFO"), foreign);
      const after = await sequences();
      expect(after[BUCKET.lease]).toBe((before[BUCKET.lease] ?? 0) + 2);
    });

    it.each(["agent", "operator"] as const)("that an %s names", async (role) => {
      const client = role === "agent" ? agent : operator;
      const link = natsLink({
        broker: coordinator.broker,
        id: job.id,
        keys: job.keys,
        operators: [publicPart(job.operator)],
      });
      const refused: string[] = [];
      let connected: () => void = () => undefined;
      const listening = new Promise<void>((resolve) => {
        connected = resolve;
      });
      link.attend(true);
      link.listen((event) => {
        if (event.kind === "connected") connected();
        if (event.kind === "refused") refused.push(event.code);
      });
      await listening;
      const before = await sequences();
      const own = permissionsOf(role, job.id, role === "agent" ? "a1" : "op").publish.allow;
      for (const reply of replies) {
        for (const [to, body] of requests) await ask(client, to, reply, body);
        for (const to of own) await ask(client, to, reply);
      }
      // What it may say, the coordinator hears, and answers none of it.
      await coordinator.broker.nc.flush();
      await done<void>((d) => link.close(d));
      expect(await sequences()).toEqual(before);
      expect(refused).toHaveLength(replies.length * own.length);
    });
  });

  it("a coordinator of another job can't be spoken for: its lease takes only its own writes", async () => {
    const other = await connectAs(server.url, "coordinator", OTHER, "c1");
    const register = natsRegister(await openBucket(other.broker, "lease"), key);
    await expect(done<number>((d) => register.write(undefined, utf8("mine"), d))).rejects.toThrow(
      "STORE_UNAVAILABLE",
    );
    expect(permissionFaults(other)).toEqual([kv(BUCKET.lease)]);
    await other.broker.close();
  });
});
