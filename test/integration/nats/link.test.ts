/** The coordinator's link: what is not genuine is refused with its code, and no fault ends it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { natsLink } from "../../../src/coordinator/adapters/nats-link/nats-link.ts";
import type { AgentLink, LinkEvent } from "../../../src/coordinator/ports/agent-link.ts";
import { sealCommand } from "../../../src/protocol/control.ts";
import { utf8 } from "../../../src/protocol/encoding.ts";
import type { EvergrantError } from "../../../src/protocol/errors.ts";
import { signJoinToken, signTicket } from "../../../src/protocol/join.ts";
import {
  agentMacKey,
  boxed,
  createJobKeySet,
  createSigningKey,
  currentSet,
  publicKeysOf,
  publicPart,
} from "../../../src/protocol/keys.ts";
import type { Done, Outcome } from "../../../src/protocol/outcome.ts";
import { openRegisterReply, sealRegister } from "../../../src/protocol/register.ts";
import { type Beat, encodeReport } from "../../../src/protocol/report.ts";
import { agentOfSubject, BUCKET, inboxPrefix, subject } from "../../../src/protocol/subjects.ts";
import { epochMs } from "../../../src/protocol/time.ts";
import { systemRandom } from "../../../src/runtime/system-clock.ts";
import {
  connectAs,
  registerBody,
  type TestClient,
  type TestJob,
  testJob,
} from "../../support/nats-job.ts";
import { startNats, type TestServer } from "../../support/servers.ts";

let server: TestServer;
let job: TestJob;
let coordinator: TestClient;
/** A client that the server lets say everything: what follows is proved by the link alone. */
let anybody: TestClient;
let link: AgentLink;
let faults: EvergrantError[] = [];
const seen: LinkEvent[] = [];
let wake: (() => void) | undefined;
let throwing = false;

/** The first event from `from` on that fits; waits for it. */
async function find<T extends LinkEvent>(
  from: number,
  fits: (event: LinkEvent) => event is T,
): Promise<T> {
  for (;;) {
    const found = seen.slice(from).find(fits);
    if (found !== undefined) return found;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}
const isKind =
  <K extends LinkEvent["kind"]>(kind: K) =>
  (event: LinkEvent): event is Extract<LinkEvent, { kind: K }> =>
    event.kind === kind;

const done = <T>(call: (done: Done<T>) => void): Promise<T> =>
  new Promise((resolve, reject) =>
    call((outcome: Outcome<T>) => (outcome.ok ? resolve(outcome.value) : reject(outcome.error))),
  );

/** Sends, and yields the event that it leads to. */
async function said<K extends LinkEvent["kind"]>(
  kind: K,
  to: string,
  data: Uint8Array,
): Promise<Extract<LinkEvent, { kind: K }>> {
  const from = seen.length;
  const name = agentOfSubject(to);
  const prefix =
    name === undefined ? inboxPrefix(job.id, "operator", "op") : inboxPrefix(job.id, "agent", name);
  anybody.broker.nc.publish(to, data, { reply: `${prefix}.1` });
  return await find(from, isKind(kind));
}

beforeAll(async () => {
  job = await testJob();
  server = await startNats();
  coordinator = await connectAs(server.url, "coordinator", job.id, "c1", false);
  anybody = await connectAs(server.url, "agent", job.id, "x", false);
  link = natsLink({
    broker: coordinator.broker,
    id: job.id,
    keys: job.keys,
    operators: [publicPart(job.operator)],
    onFault: (error) => faults.push(error),
  });
  link.attend(true);
  link.listen((event) => {
    seen.push(event);
    wake?.();
    if (throwing) throw new Error("a fault of the core");
  });
  await find(0, isKind("connected"));
});
afterAll(async () => {
  await Promise.all([coordinator, anybody].map((client) => client.broker.close()));
});

const register = (agent: string) => subject.agent(job.id, "register", agent);
const beat = (over: Partial<Beat> = {}): Beat => ({
  v: 1,
  type: "beat",
  agent: "a1",
  instance: "i1",
  sequence: 1,
  term: 1,
  generation: 1,
  runwayMs: {},
  failing: {},
  refused: {},
  ...over,
});

describe("registrations", () => {
  it("an expired token is passed on, since the core judges it", async () => {
    const own = await createSigningKey(systemRandom);
    const { signing } = currentSet(job.file);
    const ended = { id: "ended-token", ...job.id, notAfterMs: 0, maxAgents: 1 };
    const body = await registerBody(job, "a1", own, {
      token: await signJoinToken(ended, signing),
    });
    const event = await said(
      "register",
      register("a1"),
      await sealRegister(body, own, job.publicKeys.registration),
    );
    expect(event.admission).toEqual({ kind: "token", token: ended });
    expect(event.body).not.toHaveProperty("token");
    expect(event.body).not.toHaveProperty("replyKey");
  });

  it("a ticket of its own goes before the token; one of another key or name lets nobody in", async () => {
    const [own, other] = [
      await createSigningKey(systemRandom),
      await createSigningKey(systemRandom),
    ];
    const { signing } = currentSet(job.file);
    const ticket = {
      ...job.id,
      agent: "a1",
      key: publicPart(own),
      tokenId: "token-0001",
      issuedAtMs: 1,
    };
    const signed = await signTicket(ticket, signing);
    const seal = async (key: typeof own, agent: string, over: object) =>
      await sealRegister(
        { ...(await registerBody(job, agent, key)), ...over },
        key,
        job.publicKeys.registration,
      );
    const good = await said("register", register("a1"), await seal(own, "a1", { ticket: signed }));
    expect(good.admission).toEqual({ kind: "ticket", ticket });
    const stolen = { ticket: signed, token: undefined };
    const none = { kind: "none", code: "JOIN_TOKEN_INVALID" };
    const byKey = await said("register", register("a1"), await seal(other, "a1", stolen));
    expect(byKey.admission).toEqual(none);
    const byName = await said("register", register("a2"), await seal(own, "a2", stolen));
    expect(byName.admission).toEqual(none);
    const withToken = await said(
      "register",
      register("a2"),
      await seal(own, "a2", { ticket: signed }),
    );
    expect(withToken.admission.kind).toBe("token");
    const nothing = await said(
      "register",
      register("a2"),
      await seal(own, "a2", { token: undefined }),
    );
    expect(nothing.admission).toEqual(none);
  });

  it("requests that are garbage, another's, another job's or another key's are refused by their code", async () => {
    const own = await createSigningKey(systemRandom);
    const { registration } = job.publicKeys;
    const body = await registerBody(job, "a1", own);
    const sealed = await sealRegister(body, own, registration);
    const code = async (to: string, data: Uint8Array) => (await said("refused", to, data)).code;
    expect(await code(register("a1"), utf8("garbage"))).toBe("MESSAGE_MALFORMED");
    expect(await code(register("a1"), new Uint8Array([0xff, 0xfe]))).toBe("MESSAGE_MALFORMED");
    expect(await code(register("a2"), sealed)).toBe("MESSAGE_FORGED");
    const bent = Buffer.from(sealed);
    bent.write(bent.subarray(-4).toString() === "AAAA" ? "BBBB" : "AAAA", bent.length - 4);
    expect(await code(register("a1"), bent)).toBe("MESSAGE_FORGED");
    const foreign = await sealRegister({ ...body, job: "other" }, own, registration);
    expect(await code(register("a1"), foreign)).toBe("MESSAGE_FOR_OTHER_JOB");
    const others = publicKeysOf({
      ...job.file,
      sets: [await createJobKeySet(epochMs(0), systemRandom)],
    });
    expect(await code(register("a1"), await sealRegister(body, own, others.registration))).toBe(
      "KEY_UNKNOWN",
    );
    const liar = await createSigningKey(systemRandom);
    expect(await code(register("a1"), await sealRegister(body, liar, registration))).toBe(
      "MESSAGE_FORGED",
    );
    const from = seen.length;
    anybody.broker.nc.publish(register("a1"), sealed);
    expect((await find(from, isKind("refused"))).code).toBe("MESSAGE_MALFORMED");
  });

  it("a request whose answer would go anywhere but to its own inbox is refused", async () => {
    const own = await createSigningKey(systemRandom);
    const body = await registerBody(job, "a1", own);
    const sealed = await sealRegister(body, own, job.publicKeys.registration);
    const replies = [
      `$KV.${BUCKET.lease}.acme.etl`,
      `$KV.${BUCKET.state}.acme.other`,
      subject.notice(job.id),
      "_INBOX.x",
      `${inboxPrefix(job.id, "agent", "a2")}.x`,
      `${inboxPrefix(job.id, "agent", "a1")}1.x`,
      `${inboxPrefix({ tenant: "acme", job: "other" }, "agent", "a1")}.x`,
    ];
    for (const reply of replies) {
      const from = seen.length;
      anybody.broker.nc.publish(register("a1"), sealed, { reply });
      expect((await find(from, isKind("refused"))).code, reply).toBe("MESSAGE_FORGED");
      anybody.broker.nc.publish(subject.control(job.id), sealed, { reply });
      expect((await find(from + 1, isKind("refused"))).code, reply).toBe("MESSAGE_FORGED");
    }
  });

  it("a refusal reaches the agent sealed and bound to its request; a second answer is an error", async () => {
    const own = await createSigningKey(systemRandom);
    const body = await registerBody(job, "x", own);
    const from = seen.length;
    const replying = anybody.broker.nc.request(
      register("x"),
      await sealRegister(body, own, job.publicKeys.registration),
      { timeout: 5000 },
    );
    const { request } = await find(from, isKind("register"));
    const refusal = { accepted: false, code: "JOIN_TOKEN_EXHAUSTED", timeMs: 77 } as const;
    await done<void>((d) => link.answerRegister(request, refusal, d));
    const answer = await openRegisterReply((await replying).data, body, job.publicKeys.signing);
    expect(answer).toEqual(refusal);
    await expect(done<void>((d) => link.answerRegister(request, refusal, d))).rejects.toMatchObject(
      { code: "MESSAGE_EXPIRED" },
    );
  });
});

describe("reports", () => {
  it("a report counts under its own agent's key, on its own subject, and in its own words only", async () => {
    const id = { agent: "a1", instance: "i1" };
    const key = agentMacKey(currentSet(job.file).macRoot, job.id, id);
    const to = subject.agent(job.id, "beat", "a1");
    const good = encodeReport(beat(), to, key);
    expect((await said("report", to, good)).report).toEqual(beat());
    const code = async (on: string, data: Uint8Array) => (await said("refused", on, data)).code;
    expect(await code(subject.agent(job.id, "beat", "a2"), good)).toBe("MESSAGE_FORGED");
    expect(await code(subject.agent(job.id, "ack", "a1"), good)).toBe("MESSAGE_FORGED");
    expect(await code(to, encodeReport(beat({ instance: "i2" }), to, key))).toBe("MESSAGE_FORGED");
    expect(await code(to, encodeReport(beat({ agent: "a2" }), to, key))).toBe("MESSAGE_FORGED");
    const altered = Buffer.from(good).toString().replace('"generation":1', '"generation":9');
    expect(await code(to, utf8(altered))).toBe("MESSAGE_FORGED");
    expect(await code(to, utf8("short"))).toBe("MESSAGE_MALFORMED");
    expect(await code(to, new Uint8Array(300 * 1024))).toBe("MESSAGE_TOO_LARGE");
  });

  it("an agent that met an older key set is still believed", async () => {
    const fresh = await createJobKeySet(epochMs(1), systemRandom);
    const keys = boxed({ ...job.file, sets: [fresh, ...job.file.sets] });
    const successor = await connectAs(server.url, "coordinator", job.id, "c2", false);
    const heard: LinkEvent[] = [];
    let told: (() => void) | undefined;
    const second = natsLink({ broker: successor.broker, id: job.id, keys, operators: [] });
    const ready = new Promise<void>((resolve) => {
      second.attend(true);
      second.listen((event) => {
        heard.push(event);
        if (event.kind === "connected") resolve();
        else told?.();
      });
    });
    await ready;
    const hearing = new Promise<void>((resolve) => {
      told = resolve;
    });
    const key = agentMacKey(currentSet(job.file).macRoot, job.id, { agent: "a1", instance: "i1" });
    const to = subject.agent(job.id, "beat", "a1");
    anybody.broker.nc.publish(to, encodeReport(beat({ sequence: 9 }), to, key));
    await hearing;
    expect(heard.at(-1)).toEqual({ kind: "report", report: beat({ sequence: 9 }) });
    await done<void>((d) => second.close(d));
    await successor.broker.close();
  });
});

describe("commands", () => {
  it("a command of somebody who is no operator is refused", async () => {
    const command = {
      v: 1,
      ...job.id,
      operator: "op",
      nonce: "0123456789abcdef",
      issuedAtMs: 1,
      notAfterMs: 2,
      command: { kind: "end" },
    } as const;
    const stranger = await createSigningKey(systemRandom);
    const forged = await sealCommand(command, stranger);
    expect((await said("refused", subject.control(job.id), forged)).code).toBe("MESSAGE_FORGED");
    // The kid is only a name: whoever takes the operator's has not got the operator's key.
    const named = await sealCommand(command, { ...stranger, kid: job.operator.kid });
    expect((await said("refused", subject.control(job.id), named)).code).toBe("MESSAGE_FORGED");
    const genuine = await sealCommand(command, job.operator);
    expect((await said("command", subject.control(job.id), genuine)).envelope).toEqual(command);
  });
});

describe("bad times", () => {
  it("a core that throws is told of and ends nothing", async () => {
    const id = { agent: "a1", instance: "i1" };
    const key = agentMacKey(currentSet(job.file).macRoot, job.id, id);
    const to = subject.agent(job.id, "beat", "a1");
    faults = [];
    throwing = true;
    await said("report", to, encodeReport(beat({ sequence: 20 }), to, key));
    await said("refused", to, utf8("short"));
    throwing = false;
    expect(faults.map((fault) => fault.code)).toEqual(["INTERNAL", "INTERNAL"]);
    const after = await said("report", to, encodeReport(beat({ sequence: 21 }), to, key));
    expect(after.report.sequence).toBe(21);
  });

  it("while the broker is down sends fail, and after it is back the link hears again", async () => {
    const from = seen.length;
    const back = new Promise<void>((resolve) => {
      anybody.broker.listen((event) => {
        if (event.kind === "connected") resolve();
      });
    });
    await server.kill();
    await find(from, isKind("disconnected"));
    const notice = {
      v: 1,
      ...job.id,
      term: 7,
      sequence: 1,
      timeMs: 5,
      what: { kind: "report" },
    } as const;
    for (const send of [
      (d: Done<void>) => link.notify(notice, d),
      (d: Done<void>) => link.push(["a1"], utf8("x"), d),
    ]) {
      await expect(done<void>(send)).rejects.toMatchObject({ code: "BROKER_UNAVAILABLE" });
    }
    await server.restart();
    await find(from, isKind("connected"));
    await back;
    const key = agentMacKey(currentSet(job.file).macRoot, job.id, { agent: "a1", instance: "i1" });
    const to = subject.agent(job.id, "beat", "a1");
    const { report } = await said("report", to, encodeReport(beat({ sequence: 30 }), to, key));
    expect(report.sequence).toBe(30);
    await done<void>((d) => link.notify(notice, d));
  });

  it("a closed link says no more", async () => {
    await done<void>((d) => link.close(d));
    const count = seen.length;
    const key = agentMacKey(currentSet(job.file).macRoot, job.id, { agent: "a1", instance: "i1" });
    const to = subject.agent(job.id, "beat", "a1");
    anybody.broker.nc.publish(to, encodeReport(beat({ sequence: 40 }), to, key));
    await anybody.broker.nc.flush();
    await coordinator.broker.nc.flush();
    expect(seen).toHaveLength(count);
  });
});
