/** S4: SIGTERM hands over at every moment of a rotation, and `end` ends the job for everybody. */
import { beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { expectNoRegistration, expectUnharmed } from "./support/oracle.ts";
import { KEPT, ROTATED } from "./support/outcomes.ts";
import {
  AGENTS,
  askForRotation,
  askUnheard,
  holdResult,
  meetCall,
  published,
  type Scene,
  says,
  startScene,
} from "./support/scene.ts";
import { STEADY, writesOf } from "./support/system-rig.ts";

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

/** A released lease is taken at the next look: well before it could have run out, which takes long here. */
const AT_ONCE_MS = (STEADY.leaseTtlSec * 1000) / 2;
/** A call that is met under way must not end by itself before it is answered. */
const LONG_CALL_SEC = 8;

/** Here no lease is to end by its time: neither while a write is held back, nor in a stall of the machine. */
const handsOver = () => ({ nats, redis, timing: STEADY });

/** SIGTERM now, then `meanwhile`; the holder ends with 0, and its standby leads at once. */
async function handedOver(
  { holder, standby }: Scene,
  meanwhile: () => void = () => undefined,
): Promise<void> {
  const asked = systemClock.now().mono;
  holder.signal("SIGTERM");
  await holder.until((line) => String(line["text"]).includes("handing over (SIGTERM)"));
  meanwhile();
  const [{ code }, led] = await Promise.all([holder.exited, standby.leads(asked)]);
  expect(code).toBe(0);
  expect(holder.count((line) => line["event"] === "handed-over")).toBe(1);
  const released = holder.nats.said.filter((frame) => frame.verb === "HPUB").at(-1)?.at ?? 0;
  expect(led.at - released).toBeLessThan(AT_ONCE_MS);
  expect(standby.count((line) => String(line["msg"]).includes("has not moved"))).toBe(0);
}

describe("S4: SIGTERM hands over", () => {
  it("S4.1 idle: the standby leads at once, without an issuer call", async () => {
    const scene = await startScene(handsOver());
    await handedOver(scene);
    await scene.standby.until(published(1));
    expectNoRegistration(await expectUnharmed(scene.rig, scene.agents, { ...KEPT, terms: 2 }));
  });

  it("S4.2 while the intent is being written: the call is made, recorded and handed over", async () => {
    const scene = await startScene(handsOver());
    const { rig, holder, standby, agents } = scene;
    const holding = holder.nats.holdNext(writesOf(rig, "state"));
    const asked = askUnheard(rig);
    const held = await holding;
    expect(rig.sts.count()).toBe(1);
    await handedOver(scene, held.release);
    await standby.until(published(2));
    await asked;
    await expectUnharmed(rig, agents, { ...ROTATED, terms: 2 });
  });

  it("S4.3 during the issuer call: its answer is recorded before the lease is released", async () => {
    const scene = await startScene({ ...handsOver(), callTimeoutSec: LONG_CALL_SEC });
    const { rig, standby, agents } = scene;
    let answer: () => void = () => undefined;
    const calling = meetCall(
      rig,
      new Promise<void>((resolve) => {
        answer = resolve;
      }),
    );
    await askForRotation(rig);
    await calling;
    await handedOver(scene, answer);
    await standby.until(published(2));
    await expectUnharmed(rig, agents, { ...ROTATED, terms: 2 });
  });

  it("S4.4 while the result is being written", async () => {
    const scene = await startScene(handsOver());
    const { rig, holder, standby, agents } = scene;
    const holding = holdResult(rig, holder);
    await askForRotation(rig);
    const held = await holding;
    expect((await rig.state())?.generation).toBe(1);
    await handedOver(scene, held.release);
    await standby.until(published(2));
    await expectUnharmed(rig, agents, { ...ROTATED, terms: 2 });
  });

  it("S4.5 while the bundle is being written: it comes out once, or again under the next term", async () => {
    const scene = await startScene(handsOver());
    const { rig, holder, standby, agents } = scene;
    const holding = holder.nats.holdNext(writesOf(rig, "bundle"));
    await askForRotation(rig);
    const held = await holding;
    await handedOver(scene, held.release);
    await standby.until(published(2));
    await expectUnharmed(rig, agents, { ...ROTATED, terms: 2 });
  });
});

describe("S5: the end of the job", () => {
  it("S5.1 holder and standby exit 0, agents are told and serve on, nothing is left in the stores", async () => {
    const { rig, holder, standby, agents } = await startScene(handsOver());
    const operator = await rig.operator();
    await operator.end();
    expect(await holder.exited).toEqual({ code: 0, signal: null });
    expect(await standby.exited).toEqual({ code: 0, signal: null });
    expect(holder.count((line) => line["event"] === "ended")).toBe(1);
    expect(standby.count((line) => line["event"] === "ended")).toBe(1);
    expect(standby.count(says("lease taken"))).toBe(0);
    await agents.until(says("the job has ended; serving what is held until it expires"));
    const { agents: reports } = await agents.report();
    expect(
      reports.map(({ gaps, servedExpired, joining }) => [gaps, servedExpired, joining]),
    ).toEqual(Array.from({ length: AGENTS }, () => [0, 0, "ended"]));
    expect(await rig.state()).toBeUndefined();
    expect(rig.sts.count()).toBe(1);
  });

  it("S5.2 a standby that is started after the end exits 0 without leading", async () => {
    const { rig, standby } = await startScene(handsOver());
    const operator = await rig.operator();
    await operator.end();
    await standby.exited;
    const late = await rig.coordinator("c", { standby: true });
    expect(await late.exited).toEqual({ code: 0, signal: null });
    expect(late.count(says("lease taken"))).toBe(0);
    expect(rig.sts.count()).toBe(1);
  });
});
