import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MAX_SEALED_BYTES } from "../../../src/protocol/bundle.ts";
import type { JobKeyFile } from "../../../src/protocol/keys.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import {
  type JobMembership,
  type JoinJobOptions,
  joinJob,
} from "../../../src/worker-agent/join-job.ts";
import { countingClock } from "../../support/counting-clock.ts";
import { eventually } from "../../support/eventually.ts";
import { testJob, userOf } from "../../support/nats-job.ts";
import { startNats, type TestServer } from "../../support/servers.ts";
import { garbage, QUICK, ScriptedCoordinator } from "./scripted-coordinator.ts";

let nats: TestServer;
let coordinator: ScriptedCoordinator;
let dir: string;
const joined: JobMembership[] = [];

beforeEach(async () => {
  const job = await testJob();
  nats = await startNats({
    users: [userOf("coordinator", job.id, "c1"), userOf("agent", job.id, "*")],
  });
  coordinator = await ScriptedCoordinator.start(job, nats);
  dir = await mkdtemp(join(tmpdir(), "evergrant-join-"));
});
afterEach(async () => {
  await Promise.all(joined.splice(0).map((one) => one.close()));
  await coordinator.broker.close();
  await nats.kill();
  await rm(dir, { recursive: true, force: true });
});

async function enter(options: JoinJobOptions = {}): Promise<JobMembership> {
  const from = options.joinFile === undefined ? { join: await coordinator.joinFile() } : {};
  const member = await joinJob({ ...from, timings: QUICK, ...options });
  joined.push(member);
  return member;
}

/** Another job key file whose signing key goes by the name of this one's. */
async function namesake({ sets: [own], ...id }: JobKeyFile): Promise<JobKeyFile> {
  const { file } = await testJob(id);
  const [set] = file.sets;
  if (own === undefined || set === undefined) throw new Error("unreachable");
  return { ...file, sets: [{ ...set, signing: { ...set.signing, kid: own.signing.kid } }] };
}

const textOf = (member: JobMembership, provider = "lake") =>
  member.current(provider)?.material.reveal()["text"];

describe("joinJob", () => {
  it("has the credentials of the register reply, acks them, and follows each broadcast", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const member = await enter({ name: "executor-1" });
    const seen: number[] = [];
    member.events.on("credential", ({ generation }) => seen.push(generation));
    await member.ready(10_000);
    expect(textOf(member)).toBe("material-lake-1");
    await eventually(() => coordinator.acks("executor-1").length === 1);
    await coordinator.publish(2, [coordinator.credential("lake", 2)]);
    await eventually(() => textOf(member) === "material-lake-2");
    await eventually(() => coordinator.acks("executor-1").length === 2);
    expect(coordinator.acks("executor-1").at(-1)).toMatchObject({
      term: 100,
      generation: 2,
      results: [{ provider: "lake", kind: "in-process", generation: 2, outcome: "applied" }],
    });
    expect(seen).toEqual([1, 2]);
    expect(coordinator.registers).toHaveLength(1);
  });

  it("beats at the interval that its registration names", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    await enter({ name: "beater" });
    await eventually(() => coordinator.reports.filter(({ type }) => type === "beat").length >= 3);
    expect(coordinator.reports.find(({ type }) => type === "beat")).toMatchObject({
      agent: "beater",
      generation: 1,
      kid: coordinator.group.kid,
    });
  });

  it("I2: never hands out an expired credential", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const member = await enter();
    const expired = new Promise((resolve) => member.events.once("expired", resolve));
    await member.ready(10_000);
    // The short-lived one comes to an agent that is there already.
    await coordinator.publish(2, [coordinator.credential("lake", 2, 4000)]);
    await eventually(() => member.health().generation === 2);
    const { expiresAt } = member.current("lake") ?? { expiresAt: 0 };
    await eventually(() => Date.now() > expiresAt - 500);
    for (;;) {
      // Read first: a pause between the two must not make a good answer look late.
      const now = Date.now();
      if (member.current("lake") === undefined) break;
      expect(now).toBeLessThan(expiresAt + 5);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    expect(await expired).toEqual({ provider: "lake", generation: 2 });
    expect(member.health().ready).toBe(false);
  });

  it("iterates the newest of each provider and drops those in between", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const member = await enter();
    await member.ready(10_000);
    const stream = member.credentials();
    for (const generation of [2, 3, 4]) {
      await coordinator.publish(generation, [coordinator.credential("lake", generation)]);
    }
    await eventually(() => member.health().generation === 4);
    expect((await stream.next()).value).toMatchObject({ generation: 4 });
    const next = stream.next();
    await member.close();
    expect(await next).toMatchObject({ done: true });
  });

  it("demands once per generation", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const member = await enter();
    await member.ready(10_000);
    for (let task = 0; task < 20; task += 1) member.demand("lake", 1);
    await coordinator.publish(2, [coordinator.credential("lake", 2)]);
    await eventually(() => member.health().generation === 2);
    member.demand("lake", 2);
    const demands = () => coordinator.reports.filter(({ type }) => type === "demand");
    await eventually(() => demands().length === 2);
    expect(demands()).toMatchObject([{ rejected: 1 }, { rejected: 2 }]);
  });

  it("rejects with the reasons when it is not ready in time", async () => {
    const member = await enter({ providers: ["sea"] });
    await expect(member.ready(300)).rejects.toMatchObject({
      code: "START_TIMEOUT",
      message: expect.stringContaining("provider sea: no unexpired credential"),
    });
  });
});

describe("the join file", () => {
  it("is waited for, since an agent may be started before its coordinator", async () => {
    const joinFile = join(dir, "join.json");
    const entering = enter({ joinFile, startTimeoutMs: 10_000 });
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    await writeFile(joinFile, JSON.stringify(await coordinator.joinFile()));
    await (await entering).ready(10_000);
  });

  it("that does not come fails with START_TIMEOUT", async () => {
    const joinFile = join(dir, "nowhere.json");
    await expect(enter({ joinFile, startTimeoutMs: 300 })).rejects.toMatchObject({
      code: "START_TIMEOUT",
      message: expect.stringContaining("ENOENT"),
    });
  });

  it("that was tampered with is refused before anything is sent", async () => {
    const { token: _token, ...rest } = await coordinator.joinFile();
    const joinFile = join(dir, "join.json");
    await writeFile(joinFile, JSON.stringify(rest));
    await expect(enter({ joinFile, startTimeoutMs: 300 })).rejects.toMatchObject({
      message: expect.stringContaining("malformed at token"),
    });
    expect(coordinator.registers).toHaveLength(0);
  });

  it("is read again at each attempt, so that a refused token is replaced by a fresh one", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const joinFile = join(dir, "join.json");
    const stale = { ...(await coordinator.joinFile()), token: "stale" };
    await writeFile(joinFile, JSON.stringify(stale));
    coordinator.refusing = "JOIN_TOKEN_EXPIRED";
    const member = await enter({ joinFile });
    await eventually(() => coordinator.registers.length >= 2);
    expect(member.health().reasons.join()).toContain("JOIN_TOKEN_EXPIRED");
    coordinator.refusing = undefined;
    const fresh = await coordinator.joinFile();
    await writeFile(joinFile, JSON.stringify(fresh));
    await member.ready(10_000);
    expect(coordinator.registers.at(-1)?.token).toBe(fresh.token);
  });

  it("may name another broker, which the agent then goes to", async () => {
    const joinFile = join(dir, "join.json");
    const real = await coordinator.joinFile();
    await writeFile(
      joinFile,
      JSON.stringify({
        ...real,
        nats: { ...real.nats, servers: [nats.url, "nats://127.0.0.1:1"] },
      }),
    );
    coordinator.answering = false;
    const member = await enter({ joinFile, timings: { ...QUICK, requestTimeoutMs: 500 } });
    await eventually(() => coordinator.registers.length >= 1);
    await writeFile(joinFile, JSON.stringify(real));
    coordinator.answering = true;
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    await member.ready(10_000);
  });
});

describe("bad bundles", () => {
  it("are refused by reason and counted, and what is held stays", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const old = await coordinator.publish(2, [coordinator.credential("lake", 2)]);
    await coordinator.publish(3, [coordinator.credential("lake", 3)]);
    const member = await enter();
    await member.ready(10_000);
    const stranger = await namesake(coordinator.job.file);
    const next = coordinator.bundle(4, [coordinator.credential("lake", 4)]);
    const good = await coordinator.seal(next);
    const cases: readonly (readonly [string, Uint8Array])[] = [
      ["MESSAGE_FORGED", await coordinator.seal(next, stranger)],
      ["MESSAGE_REPLAYED", old],
      ["MESSAGE_TOO_LARGE", new Uint8Array(MAX_SEALED_BYTES + 1).fill(65)],
      ["MESSAGE_FORGED", good.slice(0, good.length - 20)],
      ["MESSAGE_FORGED", garbage],
      ["MESSAGE_FOR_OTHER_JOB", await coordinator.seal({ ...next, job: "other" })],
    ];
    const wanted: Record<string, number> = {};
    for (const [code, bytes] of cases) {
      wanted[code] = (wanted[code] ?? 0) + 1;
      await coordinator.store(bytes);
      await eventually(() => member.health().refused[code] === wanted[code]);
    }
    // An empty message is the removal of the key: no message at all.
    await coordinator.store(new Uint8Array());
    await coordinator.store(good);
    await eventually(() => textOf(member) === "material-lake-4");
    expect(member.health().refused).toEqual(wanted);
    const past = coordinator.bundle(5, [coordinator.credential("lake", 5, -60_000)]);
    await coordinator.store(await coordinator.seal(past));
    await eventually(() => (member.health().refused["MESSAGE_EXPIRED"] ?? 0) > 0);
    expect(textOf(member)).toBe("material-lake-4");
  });

  it("I1: an old stored bundle can't be played to a fresh agent", async () => {
    const old = await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    await coordinator.publish(2, [coordinator.credential("lake", 2)]);
    await coordinator.store(old);
    const member = await enter();
    await member.ready(10_000);
    expect(textOf(member)).toBe("material-lake-2");
    await coordinator.push(member.agent, old);
    await eventually(() => member.health().refused["MESSAGE_REPLAYED"] === 1);
    expect(textOf(member)).toBe("material-lake-2");
  });
});

describe("keys and notices", () => {
  it("a bundle under an unknown group key makes the agent register again, with its ticket", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const member = await enter();
    await member.ready(10_000);
    coordinator.rekey();
    await coordinator.publish(2, [coordinator.credential("lake", 2)]);
    await eventually(() => textOf(member) === "material-lake-2");
    expect(coordinator.registers).toHaveLength(2);
    expect(coordinator.registers[1]).toMatchObject({ highest: { term: 100, generation: 1 } });
    expect(coordinator.registers[1]?.ticket).toBeDefined();
    expect(coordinator.registers[1]?.token).toBeUndefined();
  });

  it("report is answered by a beat, and a replay of it is refused", async () => {
    coordinator.beatMs = 3_600_000;
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const member = await enter();
    await member.ready(10_000);
    const bytes = await coordinator.notice({ kind: "report" });
    const beats = () => coordinator.reports.filter(({ type }) => type === "beat");
    await eventually(() => beats().length === 1);
    await coordinator.say(bytes);
    await coordinator.say(garbage);
    await eventually(() => member.health().refused["MESSAGE_FORGED"] === 1);
    await eventually(() => member.health().refused["MESSAGE_REPLAYED"] === 1);
    expect(beats()).toHaveLength(1);
  });

  it("goodbye: what is held is served on, and nobody registers any more", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const member = await enter();
    const ended = new Promise<void>((resolve) => member.events.once("ended", () => resolve()));
    await member.ready(10_000);
    await coordinator.notice({ kind: "goodbye" });
    await ended;
    expect(textOf(member)).toBe("material-lake-1");
    expect(member.health().joining).toBe("ended");
  });
});

describe("a broker that goes away", () => {
  it("the agent serves on, and catches up by itself with what it has missed", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const member = await enter();
    await member.ready(10_000);
    await eventually(() => coordinator.acks(member.agent).length === 1);
    await nats.kill();
    await eventually(() => !member.health().connected);
    expect(textOf(member)).toBe("material-lake-1");
    await nats.restart();
    await eventually(() => coordinator.broker.connected());
    await coordinator.publish(2, [coordinator.credential("lake", 2)]);
    await eventually(() => textOf(member) === "material-lake-2");
    await eventually(() => coordinator.acks(member.agent).length === 2);
    expect(coordinator.registers).toHaveLength(1);
  });

  it("is waited for at the start", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const file = await coordinator.joinFile();
    await nats.kill();
    const member = await enter({ join: file });
    await expect(member.ready(300)).rejects.toMatchObject({
      message: expect.stringContaining("not connected to the broker"),
    });
    await nats.restart();
    await member.ready(30_000);
  });
});

describe("a broker that never was there", () => {
  it("leaves no timer when the agent is closed", async () => {
    const file = await coordinator.joinFile();
    await nats.kill();
    const { clock, pending } = countingClock();
    const member = await enter({ join: file, clock });
    await eventually(() => pending() > 0);
    await member.close();
    await eventually(() => pending() === 0);
  });
});

describe("identity", () => {
  it("an agent with a state folder comes back as itself, with its ticket and its highest version", async () => {
    await coordinator.publish(3, [coordinator.credential("lake", 3)]);
    const first = await enter({ stateDir: dir });
    await first.ready(10_000);
    await eventually(() => coordinator.acks(first.agent).length === 1);
    await first.close();
    const text = await readFile(join(dir, "agent.json"), "utf8");
    expect(text).not.toContain("material-lake");
    expect((await stat(join(dir, "agent.json"))).mode & 0o777).toBe(0o600);
    const second = await enter({ stateDir: dir });
    await second.ready(10_000);
    const [one, two] = coordinator.registers;
    expect(two).toMatchObject({
      agent: one?.agent,
      key: one?.key,
      highest: { term: 100, generation: 3 },
    });
    expect(two?.ticket).toBeDefined();
    expect(two?.instance).not.toBe(one?.instance);
  });

  it("two agents with one name both live", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const [a, b] = [await enter({ name: "twin" }), await enter({ name: "twin" })];
    await Promise.all([a.ready(10_000), b.ready(10_000)]);
    await coordinator.publish(2, [coordinator.credential("lake", 2)]);
    await eventually(() => textOf(a) === "material-lake-2" && textOf(b) === "material-lake-2");
    await eventually(() => coordinator.acks("twin").length === 4);
    expect(new Set(coordinator.acks("twin").map(({ instance }) => instance)).size).toBe(2);
  });

  it("I9: no secret is readable in what listeners and health are given", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const member = await enter();
    await member.ready(10_000);
    expect(JSON.stringify([member.health(), member.current("lake")])).not.toContain(
      "material-lake",
    );
    expect(member.current("lake")?.material).toBeInstanceOf(Secret);
  });

  it("fifty agents in one process hold a new bundle together", async () => {
    await coordinator.publish(1, [coordinator.credential("lake", 1)]);
    const file = await coordinator.joinFile();
    const members = await Promise.all(Array.from({ length: 50 }, () => enter({ join: file })));
    await Promise.all(members.map((member) => member.ready(30_000)));
    await coordinator.publish(2, [coordinator.credential("lake", 2)]);
    await eventually(() => members.every((member) => textOf(member) === "material-lake-2"));
    expect(coordinator.registers).toHaveLength(50);
  });
});
