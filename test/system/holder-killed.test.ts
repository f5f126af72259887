/**
 * S1: kill -9 of the holder, at every moment of a rotation. Each moment is met from outside: a frame
 * of its that is held back before the server, or an answer that is kept from it.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { startNats, startRedis, type TestServer } from "../support/servers.ts";
import { expectNoRegistration, expectUnharmed } from "./support/oracle.ts";
import { KEPT, RECOVERED, ROTATED } from "./support/outcomes.ts";
import { saidAt } from "./support/process.ts";
import {
  AGENTS,
  askForRotation,
  holdResult,
  meetCall,
  published,
  type Scene,
  startScene,
} from "./support/scene.ts";
import { CALL_TIMEOUT_MS, TIMING, writesOf } from "./support/system-rig.ts";

const LEASE_MS = TIMING.leaseTtlSec * 1000;
const MARGIN_MS = TIMING.leaseMarginSec * 1000;
/** A successor that finds an open intent waits its time out before it calls. */
const TAKEOVER_MS = LEASE_MS + 10_000;

let nats: TestServer;
let redis: TestServer;

beforeAll(async () => {
  [nats, redis] = await Promise.all([startNats(), startRedis()]);
});

/** Kills the holder now; returns when its successor led, in milliseconds from then. */
async function killed({ rig, holder, standby }: Scene): Promise<number> {
  const at = systemClock.now().mono;
  await holder.kill();
  const { at: led } = await standby.leads(at);
  expect(led - at).toBeLessThan(TAKEOVER_MS);
  // Negative control: nobody takes a lease that may still be held. What was held back has not renewed it.
  const renewed = holder.nats.said.filter(
    (frame) => frame.passedAt !== undefined && writesOf(rig, "lease")(frame),
  );
  expect(led - (renewed.at(-1)?.passedAt ?? Number.NaN)).toBeGreaterThan(LEASE_MS + MARGIN_MS);
  return led - at;
}

describe("S1: the holder is killed", () => {
  it("S1.1 in the first 75 %: a successor leads within lease + 10 s, without an issuer call", async () => {
    const now = await startScene({ nats, redis });
    const { rig, standby, agents } = now;
    await killed(now);
    await standby.until(published(1));
    await agents.untilAll(({ term, generation }) => generation === 1 && term > 0);
    const { term } = (await standby.leads()).fields;
    await agents.untilAll((version) => version.term === term);
    const reports = await expectUnharmed(rig, agents, { ...KEPT, terms: 2 });
    expectNoRegistration(reports);
  });

  it("S1.2 before the issuer call: the intent is waited out, then one call obtains", async () => {
    const now = await startScene({ nats, redis });
    const { rig, standby, agents } = now;
    const holding = rig.stsProxy.holdNext(() => true);
    await askForRotation(rig);
    const request = await holding;
    expect(request.frame.bytes.toString("latin1")).toMatch(/^POST /);
    expect(rig.sts.count()).toBe(1);
    await killed(now);
    const led = saidAt(await standby.leads());
    const out = saidAt(await standby.until(published(2)));
    expect(out - led).toBeGreaterThan(CALL_TIMEOUT_MS - 50);
    await expectUnharmed(rig, agents, { ...RECOVERED, issuer: 2, terms: 2 });
  });

  it("S1.3 during the issuer call: one call is lost, counted, and made again", async () => {
    const now = await startScene({ nats, redis });
    const { rig, holder, standby, agents } = now;
    const calling = meetCall(rig, holder.exited); // the answer never comes: the caller is gone by then
    await askForRotation(rig);
    await calling;
    expect(rig.sts.count()).toBe(1); // arrived, and not ended
    await killed(now);
    await standby.until(published(2));
    await expectUnharmed(rig, agents, { ...RECOVERED, terms: 2 });
  });

  it("S1.4 after the issuer call, before the state write: the credential dies unseen, one recovery", async () => {
    const now = await startScene({ nats, redis });
    const { rig, holder, standby, agents } = now;
    const holding = holdResult(rig, holder);
    await askForRotation(rig);
    const held = await holding;
    expect(rig.sts.count("AssumeRole", "ok")).toBe(2);
    expect((await rig.state())?.generation).toBe(1);
    await killed(now);
    expect(held.frame.verb).toBe("HPUB");
    await standby.until(published(2));
    await expectUnharmed(rig, agents, { ...RECOVERED, terms: 2 });
  });

  it("S1.5 after the state write, unheard: the successor adopts the credential, no other call", async () => {
    const now = await startScene({ nats, redis });
    const { rig, holder, standby, agents } = now;
    const holding = holdResult(rig, holder);
    await askForRotation(rig);
    const held = await holding;
    await held.releaseMuted('"stream":"KV_evergrant_state"');
    expect((await rig.state())?.generation).toBe(2);
    await killed(now);
    await standby.until(published(2));
    await expectUnharmed(rig, agents, { ...ROTATED, terms: 2 });
  });

  it("S1.6 before the publish: the successor publishes what was stored, no other call", async () => {
    const now = await startScene({ nats, redis });
    const { rig, holder, standby, agents } = now;
    const holding = holder.nats.holdNext(writesOf(rig, "bundle"));
    await askForRotation(rig);
    const held = await holding;
    expect(held.frame.verb).toBe("HPUB");
    expect((await rig.state())?.generation).toBe(2);
    expect((await agents.report()).agents.map(({ generation }) => generation)).toEqual(
      Array.from({ length: AGENTS }, () => 1),
    );
    await killed(now);
    await standby.until(published(2));
    const reports = await expectUnharmed(rig, agents, { ...ROTATED, terms: 2 });
    // Generation 2 came to them under the successor's term alone.
    const { term } = (await standby.leads()).fields;
    expect(reports.flatMap(({ versions }) => versions.slice(1))).toEqual(
      Array.from({ length: AGENTS }, () => [term, 2]),
    );
  });

  it("S1.7 after the publish, unheard: the agents have it, the successor publishes it once more", async () => {
    const now = await startScene({ nats, redis });
    const { rig, holder, standby, agents } = now;
    const holding = holder.nats.holdNext(writesOf(rig, "bundle"));
    await askForRotation(rig);
    const held = await holding;
    await held.releaseMuted('"stream":"KV_evergrant_bundles"');
    await agents.untilGeneration(2);
    await killed(now);
    await standby.until(published(2));
    const { term } = (await standby.leads()).fields;
    await agents.untilAll((version) => version.term === term);
    await expectUnharmed(rig, agents, { ...ROTATED, terms: 2 });
  });
});
