/**
 * S2: a holder that sleeps past its lease (SIGSTOP), and two coordinators that start at once. What
 * wakes up must find itself fenced before it acts.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { eventually } from "../support/eventually.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { expectUnharmed } from "./support/oracle.ts";
import { KEPT, RECOVERED, ROTATED } from "./support/outcomes.ts";
import {
  AGENTS,
  askForRotation,
  askUnheard,
  holdResult,
  meetCall,
  published,
  putDown,
  type Scene,
  standsBy,
  startScene,
} from "./support/scene.ts";
import { STEADY, startRig, TIMING, writesOf } from "./support/system-rig.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

const now = (): number => systemClock.now().mono;

/** Stops the holder until its standby has taken over and published. */
async function sleepPastLease({ holder, standby }: Scene, generation: number): Promise<void> {
  const at = now();
  holder.signal("SIGSTOP");
  const led = await standby.leads(at);
  expect(led.at - at).toBeLessThan(TIMING.leaseTtlSec * 1000 + 10_000);
  await standby.until(published(generation));
}

/** Wakes it, and sees it put leadership down, stand by, and write nothing that only a holder may. */
async function wakesFenced({ rig, holder, standby }: Scene): Promise<void> {
  const woken = now();
  const calls = rig.sts.count();
  holder.signal("SIGCONT");
  // The negative control is the putting down itself: it still took itself for the holder.
  await holder.until(putDown, woken);
  await holder.until(standsBy, woken);
  const { term } = (await standby.leads()).fields;
  const written = holder.nats.said.filter(
    (frame) =>
      frame.at >= woken && (writesOf(rig, "bundle")(frame) || writesOf(rig, "state")(frame)),
  );
  expect(written).toEqual([]);
  expect(rig.sts.count()).toBe(calls);
  expect(holder.count((line) => line["msg"] === "leading", woken)).toBe(0);
  const operator = await rig.operator();
  expect(await operator.status()).toMatchObject({ phase: "leading", term });
}

describe("S2: the holder sleeps past its lease", () => {
  it("S2.1 idle: it wakes up fenced, publishes nothing and calls nobody", async () => {
    const scene = await startScene({ nats, redis });
    await sleepPastLease(scene, 1);
    await wakesFenced(scene);
    await expectUnharmed(scene.rig, scene.agents, { ...KEPT, terms: 2 });
  });

  it("S2.2 during the issuer call: the answer that it finds on waking is dropped", async () => {
    const scene = await startScene({ nats, redis });
    const { rig, holder, standby, agents } = scene;
    let answer: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const calling = meetCall(rig, answered);
    await askForRotation(rig);
    await calling;
    holder.signal("SIGSTOP");
    answer();
    await rig.sts.callsEnded(2);
    await standby.leads();
    await standby.until(published(2));
    expect(rig.sts.count("AssumeRole", "ok")).toBe(3);
    await wakesFenced(scene);
    await expectUnharmed(rig, agents, { ...RECOVERED, terms: 2 });
  });

  it("S2.3 before the state write: the woken holder's write is refused by the store", async () => {
    const scene = await startScene({ nats, redis });
    const { rig, holder, standby, agents } = scene;
    const holding = holdResult(rig, holder);
    await askForRotation(rig);
    const held = await holding;
    holder.signal("SIGSTOP");
    await standby.until(published(2));
    const before = await rig.state();
    held.release(); // the write of the old term reaches the store only now
    await wakesFenced(scene);
    const after = await rig.state();
    expect(after?.term).toBe(before?.term);
    expect(after?.term).toBe((await standby.leads()).fields["term"]);
    await expectUnharmed(rig, agents, { ...RECOVERED, terms: 2 });
  });

  it("S2.4 before the publish: the bundle of the old term is refused by the store, and reaches nobody", async () => {
    const scene = await startScene({ nats, redis });
    const { rig, holder, standby, agents } = scene;
    const holding = holder.nats.holdNext(writesOf(rig, "bundle"));
    await askForRotation(rig);
    const held = await holding;
    holder.signal("SIGSTOP");
    await standby.until(published(2));
    held.release();
    await wakesFenced(scene);
    const reports = await expectUnharmed(rig, agents, { ...ROTATED, terms: 2 });
    const { term } = (await standby.leads()).fields;
    expect(reports.flatMap(({ versions }) => versions.slice(1))).toEqual(
      Array.from({ length: AGENTS }, () => [term, 2]),
    );
  });

  it("S2.5 negative control: one that sleeps less than its lease goes on leading", async () => {
    // Long enough that it still lives when the machine stands still on top of the sleep.
    const leaseTtlSec = 8;
    const { rig, holder, standby, agents } = await startScene({
      nats,
      redis,
      timing: { leaseTtlSec },
    });
    const renewed = rig.coordinators[0]?.nats.said.length ?? 0;
    holder.signal("SIGSTOP");
    const asleep = new Promise<void>((resolve) => {
      systemClock.timer(durationMs(leaseTtlSec * 250), resolve);
    });
    await asleep;
    holder.signal("SIGCONT");
    await askForRotation(rig);
    await holder.until(published(2));
    expect(holder.nats.said.length).toBeGreaterThan(renewed);
    expect(holder.count(putDown)).toBe(0);
    expect(standby.count((line) => line["msg"] === "leading")).toBe(0);
    await expectUnharmed(rig, agents, ROTATED);
  });

  it("S2.6 between the intent and the call: it finds its intent stored, and calls nobody", async () => {
    const scene = await startScene({ nats, redis });
    const { rig, holder, standby, agents } = scene;
    const holding = holder.nats.holdNext(writesOf(rig, "state"));
    const asked = askUnheard(rig);
    const held = await holding;
    expect((await rig.state())?.providers["lake"]?.intent).toBeUndefined();
    holder.signal("SIGSTOP");
    held.release(); // the store has the intent, and its answer waits for the sleeper
    await eventually(async () => (await rig.state())?.providers["lake"]?.intent !== undefined);
    await standby.leads();
    await standby.until(published(2));
    await wakesFenced(scene);
    await asked;
    await expectUnharmed(rig, agents, { ...RECOVERED, issuer: 2, terms: 2 });
  });
});

describe("S3: two coordinators start at once", () => {
  it("S3.1 one leads, the other stands by, and the issuer is called once", async () => {
    const rig = await startRig({ nats, redis, timing: STEADY });
    const [a, b] = await Promise.all([rig.coordinator("a"), rig.coordinator("b")]);
    const [leader, other] = await Promise.race([
      a.until(standsBy).then(() => [b, a] as const),
      b.until(standsBy).then(() => [a, b] as const),
    ]);
    await leader.until(published(1));
    // Both have tried to take the lease, or one found it taken: the store let one of them in.
    const takes = [a, b].filter((c) => c.nats.said.some(writesOf(rig, "lease"))).length;
    expect(takes).toBeGreaterThan(0);
    expect(other.count((line) => line["msg"] === "lease taken")).toBe(0);
    const agents = await rig.agents({ count: AGENTS });
    await expectUnharmed(rig, agents, KEPT);
  });

  it("S3.2 both reach for a free lease in the same moment: the store lets one of them in", async () => {
    const rig = await startRig({ nats, redis });
    const first = await rig.coordinator("a");
    await first.until(published(1));
    const second = await rig.coordinator("b");
    const third = await rig.coordinator("c");
    await Promise.all([second.until(standsBy), third.until(standsBy)]);
    // Each one's write of the lease is held, so that both have seen the same revision.
    const takes = [second, third].map((c) => c.nats.holdNext(writesOf(rig, "lease")));
    const at = now();
    await first.kill();
    const held = await Promise.all(takes);
    expect(second.count((line) => line["msg"] === "lease taken")).toBe(0);
    expect(third.count((line) => line["msg"] === "lease taken")).toBe(0);
    for (const frame of held) frame.release();
    await Promise.race([second.leads(at), third.leads(at)]);
    await Promise.race([second.until(standsBy, at), third.until(standsBy, at)]);
    const leaders = [second, third].filter((c) => c.count((l) => l["msg"] === "leading") > 0);
    expect(leaders).toHaveLength(1);
    const agents = await rig.agents({ count: AGENTS });
    await expectUnharmed(rig, agents, KEPT);
  });
});
