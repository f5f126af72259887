/** What the simulation found, each pinned beside the code: a seed means another world when the simulation grows. */
import { describe, expect, test } from "vitest";
import type { Event } from "../../../src/coordinator/core/effects.ts";
import { success } from "../../../src/protocol/outcome.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { durationMs, epochMs } from "../../../src/protocol/time.ts";
import { aProvider, CoreRig, HOUR, RigStores } from "../../support/core-rig.ts";

const MINUTE = 60_000;

describe("where all stores were lost, generations begin anew", () => {
  /** A leader of generation 1, and an agent that still holds generation 9 of a term before. */
  const led = (): { rig: CoreRig; former: { term: number; generation: number } } => {
    const rig = new CoreRig().start();
    rig.run(MINUTE);
    return { rig, former: { term: rig.status().term - 5, generation: 9 } };
  };

  test("a runway that was measured under an earlier term is no demand", () => {
    const { rig, former } = led();
    rig.report("a", "i", { type: "beat", ...former, runwayMs: { lake: 0 } });
    rig.run(MINUTE);
    expect(rig.calls.map((call) => call.reason)).toEqual(["initial"]);
  });

  test.each([
    ["nobody knows of any more", [] as const],
    ["is newer than what is remembered, which has expired", [5 * MINUTE] as const],
  ])("agents still hold what %s: the next attempt does not wait for its end", (_what, given) => {
    const answers = given.values();
    const rig = new CoreRig({ issue: () => answers.next().value ?? "ISSUER_THROTTLED" }).start();
    rig.run(20 * MINUTE);
    const waits = (): number => rig.status().providers[0]?.nextAttemptInMs ?? Number.NaN;
    while (waits() < 2 * MINUTE) rig.run(1000);
    // It has taken up the bundle that there is, which brought nothing in place of what it holds.
    const { term } = rig.status();
    const version = given.length > 0 ? { term, generation: 1 } : { term: term - 5, generation: 9 };
    const beat = { type: "beat", ...version } as const;
    rig.report("a", "i", { ...beat, runwayMs: { lake: 0 } });
    expect(waits()).toBeGreaterThanOrEqual(2 * MINUTE);
    rig.report("a", "i", { ...beat, runwayMs: { lake: 3 * MINUTE } });
    expect(waits()).toBeLessThanOrEqual(MINUTE);
    rig.report("a", "i", { ...beat, runwayMs: { lake: 1 } });
    expect(waits()).toBe(15_000); // An agent's word alone does not use up the calls.
  });

  test("a rejected generation that this coordinator never gave is no demand", () => {
    const { rig, former } = led();
    rig.report("a", "i", { type: "demand", ...former, provider: "lake", rejected: 9 });
    rig.run(MINUTE);
    expect(rig.calls.map((call) => call.reason)).toEqual(["initial"]);
    rig.report("a", "i", { type: "demand", provider: "lake", rejected: 1 });
    rig.run(MINUTE);
    expect(rig.calls.map((call) => call.reason)).toEqual(["initial", "demand"]);
  });
});

describe("the bound on calls (I11)", () => {
  test("taking over uses up none of them", () => {
    const rig = new CoreRig({ issue: () => 15 * MINUTE }).start();
    for (let time = 0; time < 60; time += 1) {
      rig.stores.lease.away = true;
      rig.run(40_000);
      rig.stores.lease.away = false;
      rig.run(20_000);
    }
    // An hour of leadership put down and taken up each minute, and no life ran out.
    const at = rig.calls.map((call) => call.atMs);
    expect(at.length).toBeGreaterThanOrEqual(4);
    expect(Math.max(...at.slice(1).map((t, i) => t - (at[i] ?? 0)))).toBeLessThan(15 * MINUTE);
  });

  test("an issuer that begins to hand out what is nearly over is not asked at that pace", () => {
    const rig = new CoreRig({ issue: ({ atMs }) => (atMs < HOUR / 2 ? HOUR : 2000) }).start();
    rig.run(2 * HOUR);
    const at = rig.calls.map((call) => call.atMs);
    expect(at.length).toBeGreaterThan(100);
    at.forEach((t, i) => {
      expect((at[i + 40] ?? Infinity) - t).toBeGreaterThanOrEqual(10 * MINUTE);
    });
  });
});

describe("who leads attends", () => {
  test("to queue, agents and operators from the beginning of its term to the end of it", () => {
    const stores = new RigStores();
    const leader = new CoreRig({ stores }).start();
    const standby = new CoreRig({ stores, settings: { holder: "c2", standby: true } }).start();
    leader.run(MINUTE);
    const said = (rig: CoreRig) => rig.effectsOf("attend").map(({ on }) => on);
    expect(said(leader)).toEqual([true]);
    expect(said(standby)).toEqual([]);
    stores.lease.away = true;
    leader.run(MINUTE);
    expect(said(leader)).toEqual([true, false]);
  });

  test("two that take terms in one second, with no store to compare, take different ones", () => {
    const term = (holder: string): number => {
      const rig = new CoreRig({ settings: { holder } }).start();
      return rig.status().term;
    };
    const terms = ["c1", "c2", "c3", "c4"].map(term);
    expect(new Set(terms).size).toBe(4);
  });
});

describe("an answer that was held up", () => {
  /** The issuer answered at once; this process, or the network, took `heldUpMs` to hear of it. */
  function heldUp(
    heldUpMs: number,
    { dated = true, assumedMs }: { dated?: boolean; assumedMs?: number } = {},
  ): {
    readonly overMs: number;
    readonly warned: boolean;
    readonly renewedInMs: number;
  } {
    const assumedLifetime = assumedMs === undefined ? undefined : durationMs(assumedMs);
    const providers = [{ ...aProvider(), assumedLifetime }];
    const rig = new CoreRig({ issue: () => "hang", settings: { providers } }).start();
    const [asked] = rig.effectsOf("obtain");
    if (asked === undefined) throw new Error("nothing was asked for");
    const stamped = rig.now().wall;
    rig.run(heldUpMs);
    const answer: Event = {
      kind: "obtained",
      op: asked.op,
      provider: "lake",
      requests: 1,
      outcome: success({
        material: new Secret({ accessKeyId: "a" }),
        attributes: {},
        issuedAt: undefined,
        issuerTime: dated ? epochMs(Math.floor(stamped / 1000) * 1000) : undefined,
        expiresAt: assumedMs === undefined ? epochMs(stamped + HOUR) : undefined,
        problem: undefined,
      }),
    };
    rig.send(answer);
    const run = rig.core.providers.get("lake");
    const end = run?.expires ?? Number.NaN;
    return {
      // How much longer than the issuer's word it is thought to live.
      overMs: end - rig.nowMs + heldUpMs - HOUR,
      warned: rig.core.warnings.has("skew:lake"),
      renewedInMs: rig.status().providers[0]?.nextAttemptInMs ?? Number.NaN,
    };
  }

  test("never lengthens a life, by however long", () => {
    const slack = 1000; // of the `Date` header's own second
    expect(heldUp(0).overMs).toBeLessThanOrEqual(slack);
    expect(heldUp(700).overMs).toBeLessThanOrEqual(slack);
    expect(heldUp(8000).overMs).toBeLessThanOrEqual(0);
  });

  test("is renewed at 75 % of the life that it has, not of what is left of it", () => {
    expect(heldUp(HOUR / 2).renewedInMs).toBeLessThanOrEqual(0.25 * HOUR);
  });

  test("without a stamp may have been given as early as it was asked for", () => {
    const undated = heldUp(MINUTE, { dated: false });
    expect(undated.overMs).toBeLessThanOrEqual(0);
    expect(undated.renewedInMs).toBeLessThanOrEqual(0.75 * HOUR - MINUTE);
    const assumed = heldUp(MINUTE, { dated: false, assumedMs: HOUR });
    expect(assumed.overMs).toBeLessThanOrEqual(0);
    expect(assumed.renewedInMs).toBeLessThanOrEqual(0.75 * HOUR - MINUTE);
  });

  test("is no reason to warn of the issuer's clock", () => {
    expect(heldUp(2 * MINUTE).warned).toBe(false);
  });
});
