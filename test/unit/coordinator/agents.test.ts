import { describe, expect, test } from "vitest";
import { CoreRig, HOUR } from "../../support/core-rig.ts";

const leading = (): CoreRig => {
  const rig = new CoreRig().start();
  rig.run(1000);
  return rig;
};

const token = (over: object) => ({
  kind: "token" as const,
  token: {
    id: "token-one",
    tenant: "default",
    job: "etl",
    notAfterMs: 4e12,
    maxAgents: 2,
    ...over,
  },
});

describe("registration", () => {
  test("a token lets in as many agents as it names, and one that comes in again is counted once", () => {
    const rig = leading();
    const admission = token({});
    expect(rig.register("a", "a1", { admission })?.accepted).toBe(true);
    expect(rig.register("a", "a2", { admission })?.accepted).toBe(true);
    expect(rig.register("b", "b1", { admission })?.accepted).toBe(true);
    expect(rig.register("c", "c1", { admission })).toMatchObject({
      accepted: false,
      code: "JOIN_TOKEN_EXHAUSTED",
    });
    expect(rig.stores.state.value?.tokenUses).toEqual({ "token-one": 2 });
  });

  test("an ended token is refused, judged by the coordinator's clock", () => {
    const rig = leading();
    const notAfterMs = rig.now().wall + 1000;
    expect(rig.register("a", "a1", { admission: token({ notAfterMs }) })?.accepted).toBe(true);
    rig.run(1000);
    expect(rig.register("b", "b1", { admission: token({ notAfterMs }) })).toMatchObject({
      code: "JOIN_TOKEN_EXPIRED",
    });
  });

  test("a ticket counts for its own name and key only", () => {
    const rig = leading();
    const ticket = (agent: string, x: string) => ({
      kind: "ticket" as const,
      ticket: {
        tenant: "default",
        job: "etl",
        agent,
        key: { kid: "k", jwk: { kty: "OKP" as const, crv: "Ed25519" as const, x } },
        tokenId: "token-one",
        issuedAtMs: 0,
      },
    });
    expect(rig.register("a", "a1", { admission: ticket("a", "a-key") })?.accepted).toBe(true);
    for (const stolen of [ticket("b", "a-key"), ticket("a", "b-key")]) {
      expect(rig.register("a", "a1", { admission: stolen })).toMatchObject({
        code: "JOIN_TOKEN_INVALID",
      });
    }
  });

  test("another job's agent and one without admission are refused with the code, and counted", () => {
    const rig = leading();
    expect(rig.register("a", "a1", { job: "other" })).toMatchObject({
      code: "MESSAGE_FOR_OTHER_JOB",
    });
    const admission = { kind: "none", code: "JOIN_TOKEN_INVALID" } as const;
    expect(rig.register("a", "a1", { admission })).toMatchObject({ code: "JOIN_TOKEN_INVALID" });
    expect(rig.status().refused).toEqual({ MESSAGE_FOR_OTHER_JOB: 1, JOIN_TOKEN_INVALID: 1 });
  });

  test("nobody is answered before the first bundle of the term is out", () => {
    const rig = new CoreRig();
    rig.stores.bundle.away = true;
    rig.start().run(1000);
    expect(rig.register("a", "a1")).toBeUndefined();
    rig.stores.bundle.away = false;
    rig.run(2000);
    expect(rig.register("a", "a1")).toMatchObject({ accepted: true, generation: 1 });
  });
});

describe("the roster", () => {
  test("a new instance with the same key supersedes the older one; another key under the name lives beside it", () => {
    const rig = leading();
    rig.register("a", "a1");
    rig.register("a", "a2");
    expect(rig.status().agents.live).toBe(1);
    rig.register("a", "a3", { key: "another-key" });
    expect(rig.status().agents.live).toBe(2);
    expect(rig.status().warnings).toEqual(["2 agents call themselves a: all of them are served"]);
  });

  test("an agent that is unheard for the lost interval is lost, and back with its next report", () => {
    const rig = leading();
    rig.register("a", "a1");
    rig.report("a", "a1");
    rig.run(44_000);
    expect(rig.status().agents).toMatchObject({ live: 1, lost: 0 });
    rig.run(10_000);
    expect(rig.status().agents).toMatchObject({ live: 0, lost: 1 });
    rig.report("a", "a1");
    expect(rig.status().agents).toMatchObject({ live: 1, lost: 0 });
  });

  test("a beat that shows an old generation is answered with the current bundle, a current one with nothing", () => {
    const rig = leading();
    rig.register("a", "a1");
    rig.report("a", "a1");
    expect(rig.effectsOf("push")).toEqual([]);
    rig.report("a", "a1", { term: 0, generation: 0 });
    // What it holds is the highest that it has ever shown: an old report arriving late changes nothing.
    expect(rig.effectsOf("push")).toEqual([]);
    rig.register("b", "b1");
    rig.run(10_000);
    const before = rig.effectsOf("push").length;
    rig.report("b", "b1", { term: 0, generation: 0 });
    const pushed = rig.effectsOf("push").slice(before);
    expect(pushed.map((e) => e.agents)).toEqual([["b"]]);
  });

  test("an agent that leaves is neither live nor lost, and no rotation waits for it or names it", () => {
    const rig = leading();
    for (const agent of ["a", "b"]) rig.report(agent, `${agent}1`);
    rig.command({ kind: "rotate", text: "test" });
    const generation = 2;
    rig.report("a", "a1", { type: "ack", generation, results: [] } as never);
    const rotation = () => rig.status().rotations.at(-1);
    expect(rotation()).toMatchObject({ state: "delivering", missing: ["b"] });
    rig.report("b", "b1", { leaving: true });
    expect(rotation()).toMatchObject({ state: "done", applied: 1, missing: [] });
    expect(rig.status().agents).toMatchObject({ live: 1, lost: 0 });
    // Nothing that is late or played again makes it an agent once more; a registration does.
    rig.report("b", "b1");
    rig.report("c", "c1", { leaving: true });
    expect(rig.status().agents).toMatchObject({ live: 1, lost: 0 });
    rig.register("b", "b1");
    expect(rig.status().agents).toMatchObject({ live: 2, lost: 0 });
  });

  test("a report that was played again counts for nothing", () => {
    const rig = leading();
    rig.register("a", "a1");
    rig.report("a", "a1", { sequence: 7 });
    rig.run(44_000);
    rig.report("a", "a1", { sequence: 7 });
    rig.run(10_000);
    expect(rig.status().agents.lost).toBe(1);
  });

  test("a term above the own one makes the coordinator take a higher one; an absurd one does not", () => {
    const rig = leading();
    const { term } = rig.status();
    rig.register("a", "a1", { highest: { term: term + 5, generation: 3 } });
    rig.run(1000);
    const raised = rig.status().term;
    expect(raised).toBeGreaterThan(term + 5);
    expect(rig.status().phase).toBe("leading");
    rig.register("b", "b1", { highest: { term: Number.MAX_SAFE_INTEGER, generation: 3 } });
    rig.run(1000);
    expect(rig.status().term).toBe(raised);
    expect(rig.status().refused).toEqual({ MESSAGE_MALFORMED: 1 });
  });
});

describe("a forced rotation (I7)", () => {
  const ack = (generation: number, outcome: "applied" | "failed", sequence: number) => ({
    type: "ack" as const,
    sequence,
    generation,
    results: [{ provider: "lake", kind: "file", generation, outcome, tookMs: 1 }],
  });

  test("is done when every live agent has applied it, and names those that have not", () => {
    const rig = leading();
    for (const name of ["a", "b"]) {
      rig.register(name, `${name}1`);
      rig.report(name, `${name}1`);
    }
    const asked = rig.command({ kind: "rotate", text: "test" });
    const id = asked?.kind === "rotation" ? asked.rotation.id : "";
    const standing = () => rig.command({ kind: "rotation", id });
    rig.report("a", "a1", ack(2, "applied", 100) as never);
    expect(standing()).toMatchObject({
      rotation: { state: "delivering", generation: 2, missing: ["b"], issuerCalls: 1 },
    });
    rig.report("b", "b1", ack(2, "failed", 100) as never);
    expect(standing()).toMatchObject({ rotation: { state: "delivering", missing: ["b"] } });
    rig.report("b", "b1", ack(2, "applied", 101) as never);
    expect(standing()).toMatchObject({ rotation: { state: "done", missing: [], applied: 2 } });
  });

  test("ends with the lost one named as missing", () => {
    const rig = leading();
    rig.register("a", "a1");
    rig.report("a", "a1");
    const asked = rig.command({ kind: "rotate", text: "test" });
    const id = asked?.kind === "rotation" ? asked.rotation.id : "";
    rig.run(60_000);
    expect(rig.command({ kind: "rotation", id })).toMatchObject({
      rotation: { state: "done", applied: 0, missing: ["a"] },
    });
  });

  test("during the cooldown is deferred, and never answered with the old generation", () => {
    const rig = leading();
    const ask = () => {
      const asked = rig.command({ kind: "rotate", text: "test" });
      return asked?.kind === "rotation" ? asked.rotation : undefined;
    };
    const first = ask();
    expect(rig.command({ kind: "rotation", id: first?.id ?? "" })).toMatchObject({
      rotation: { state: "done", generation: 2 },
    });
    const second = ask();
    expect(second).toMatchObject({ state: "obtaining", generation: 0 });
    rig.run(9000);
    expect(rig.calls).toHaveLength(2);
    rig.run(1500);
    expect(rig.command({ kind: "rotation", id: second?.id ?? "" })).toMatchObject({
      rotation: { state: "done", generation: 3 },
    });
  });

  test("of a provider that is denied ends as failed, with the reason, and the old credential is kept", () => {
    const rig = leading();
    rig.issue = () => "ISSUER_DENIED";
    const asked = rig.command({ kind: "rotate", text: "test" });
    const id = asked?.kind === "rotation" ? asked.rotation.id : "";
    expect(rig.command({ kind: "rotation", id })).toMatchObject({
      rotation: { state: "failed", error: expect.stringContaining("ISSUER_DENIED") },
    });
    expect(rig.status().providers[0]).toMatchObject({
      generation: 1,
      runwayMs: expect.any(Number),
    });
    expect(rig.status().ready).toBe(true);
  });
});

describe("commands", () => {
  test("a command is carried out once: played again it is refused, and so is one that has expired", () => {
    const rig = leading();
    const again = { nonce: "n".repeat(20) };
    expect(rig.command({ kind: "status" }, again)?.kind).toBe("status");
    expect(rig.command({ kind: "status" }, again)).toMatchObject({ code: "MESSAGE_REPLAYED" });
    const { wall } = rig.now();
    for (const over of [
      { notAfterMs: wall },
      { issuedAtMs: wall, notAfterMs: wall + 301_000 },
      { issuedAtMs: wall + 301_000, notAfterMs: wall + 302_000 },
    ]) {
      expect(rig.command({ kind: "status" }, over)).toMatchObject({ code: "MESSAGE_EXPIRED" });
    }
    expect(rig.command({ kind: "end" }, { job: "other" })).toMatchObject({
      code: "MESSAGE_FOR_OTHER_JOB",
    });
    expect(rig.finished).toBeUndefined();
  });

  test("an unknown provider is refused with those that there are", () => {
    const rig = leading();
    expect(rig.command({ kind: "rotate", providers: ["laek"], text: "" })).toMatchObject({
      code: "CONFIG_INVALID",
      message: "no provider laek; there are lake",
    });
    expect(rig.calls).toHaveLength(1);
  });

  test("a coordinator that does not lead is silent", () => {
    const rig = new CoreRig();
    rig.stores.lease.away = true;
    rig.start().run(HOUR);
    expect(rig.command({ kind: "status" })).toBeUndefined();
  });
});

describe("sending again", () => {
  const ack = (rig: CoreRig, agent: string, generation: number): void =>
    rig.report(agent, `${agent}1`, { type: "ack", generation, results: [] } as never);
  const sent = (rig: CoreRig): (readonly string[])[] =>
    rig.effectsOf("push").map(({ agents }) => agents);

  test("waits while acks come in, so that many slow agents are not made slower, and names the rest at last", () => {
    const rig = new CoreRig().start();
    rig.run(1000);
    const names = Array.from({ length: 20 }, (_, i) => `a${i}`);
    for (const name of names) ack(rig, name, 1);
    rig.command({ kind: "rotate", text: "test" });
    const before = sent(rig).length;
    // One ack each half second, but for the last, which has missed the broadcast.
    for (const name of names.slice(0, -1)) {
      ack(rig, name, 2);
      rig.run(500);
    }
    expect(sent(rig).slice(before)).toEqual([]);
    rig.run(1000);
    expect(sent(rig).slice(before)).toEqual([["a19"]]);
  });

  test("waits a millisecond for each agent, and whoever beats meanwhile is not sent it either", () => {
    const rig = leading();
    const names = Array.from({ length: 3000 }, (_, i) => `a${i}`);
    for (const name of names) ack(rig, name, 1);
    rig.run(5000);
    rig.command({ kind: "rotate", text: "test" });
    const before = sent(rig).length;
    rig.run(2500);
    rig.report("a0", "a01", { generation: 1 });
    expect(sent(rig).slice(before)).toEqual([]);
    rig.run(600);
    expect(sent(rig).slice(before)).toEqual([names]);
  });

  test("comes soon for who has just joined, however long there was nobody to send it to", () => {
    const rig = leading();
    ack(rig, "old", 1);
    rig.run(40_000);
    const before = sent(rig).length;
    rig.register("new", "i1");
    rig.run(900);
    expect(sent(rig).slice(before)).toEqual([]);
    rig.run(200);
    expect(sent(rig).slice(before)).toEqual([["new"]]);
    rig.report("new", "i1");
    // Also where others are on their ladders meanwhile.
    rig.register("deaf", "i1");
    rig.run(9500);
    const rounds = sent(rig).length;
    rig.register("newer", "i1");
    rig.run(2000);
    expect(sent(rig).slice(rounds)[0]).toEqual(["newer"]);
  });

  test("costs little where a thousand agents can't open what they are sent, and beat", () => {
    const rig = leading();
    const names = Array.from({ length: 1000 }, (_, i) => `a${i}`);
    for (const name of names) ack(rig, name, 1);
    rig.run(5000);
    rig.command({ kind: "rotate", text: "test" });
    rig.run(60_000);
    const before = sent(rig).length;
    // Each of them each 15 s, in turn, for five minutes.
    for (let at = 0; at < 20_000; at += 1) {
      const name = names[at % 1000] ?? "";
      rig.report(name, `${name}1`, { generation: 1 });
      rig.run(15);
    }
    const pushes = sent(rig)
      .slice(before)
      .reduce((sum, agents) => sum + agents.length, 0);
    const rounds = sent(rig)
      .slice(before)
      .filter((agents) => agents.length > 1).length;
    // One for each beat, and one for each step of the ladder, which is 32 s by then.
    expect(pushes).toBeLessThan(20_000 + 1000 * (300 / 32 + 2));
    expect(rounds).toBeLessThanOrEqual(300);
  });

  test("does not wait for ever where answers never cease: agents join at any time", () => {
    const rig = leading();
    ack(rig, "deaf", 1);
    rig.command({ kind: "rotate", text: "test" });
    const before = sent(rig).length;
    for (let at = 0; at < 25; at += 1) {
      rig.register(`late${at}`, "i1");
      rig.report(`late${at}`, "i1", { generation: 2 });
      rig.run(500);
    }
    expect(sent(rig).slice(before)[0]).toEqual(["deaf"]);
  });
});
