import { describe, expect, it } from "vitest";
import {
  followRotation,
  ROTATION_POLL,
  type RotationBefore,
  type RotationSource,
} from "../../../src/operator/rotation-watch.ts";
import type { AgentStatus, JobStatus, RotationStatus } from "../../../src/protocol/control.ts";
import { EvergrantError } from "../../../src/protocol/errors.ts";
import { durationMs, seconds } from "../../../src/protocol/time.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const requested: RotationStatus = {
  id: "r7-1",
  providers: ["lake"],
  reason: "forced",
  generation: 0,
  term: 7,
  state: "obtaining",
  issuerCalls: 0,
  applied: 0,
  missing: [],
};
const before: RotationBefore = { generations: new Map([["lake", 4]]), agents: ["a", "b"] };

const unknown = () => Promise.reject(new EvergrantError("CONFIG_INVALID", "no rotation r7-1"));
const nobody = () => Promise.reject(new EvergrantError("NO_COORDINATOR", "nobody listens"));

const agent = (name: string, generation: number, state: AgentStatus["state"] = "live") =>
  ({ agent: name, generation, state }) as AgentStatus;
const status = (generation: number) =>
  ({ term: 8, providers: [{ provider: "lake", generation }] }) as JobStatus;

/** Follows with a source of which only some parts matter; the clock goes on by itself. */
async function follow(source: Partial<RotationSource>, limitSec = 60) {
  const clock = new ManualClock();
  const whole: RotationSource = {
    status: nobody,
    agents: nobody,
    rotation: nobody,
    request: nobody,
    ...source,
  };
  let over = false;
  const result = followRotation(whole, before, requested, {
    clock,
    limit: seconds(limitSec),
    poll: ROTATION_POLL,
  }).finally(() => {
    over = true;
  });
  result.catch(() => undefined);
  while (!over) {
    await clock.armed();
    clock.advance(ROTATION_POLL);
    // Lets the answers of this round come in.
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  }
  return { result: await result, clock };
}

describe("following a rotation (I7)", () => {
  it("ends when the coordinator says that it is done", async () => {
    let asked = 0;
    const { result } = await follow({
      rotation: async () => {
        asked += 1;
        return { ...requested, state: asked < 3 ? "delivering" : "done" };
      },
    });
    expect(result.state).toBe("done");
    expect(asked).toBe(3);
  });

  it("ends with the missing named when the time is over", async () => {
    const { result } = await follow(
      { rotation: async () => ({ ...requested, state: "delivering", missing: ["b"] }) },
      2,
    );
    expect(result).toMatchObject({ state: "delivering", missing: ["b"] });
  });

  it("goes on through a time with no coordinator", async () => {
    let asked = 0;
    const { result } = await follow({
      rotation: () => {
        asked += 1;
        return asked < 5 ? nobody() : Promise.resolve({ ...requested, state: "done" as const });
      },
    });
    expect(result.state).toBe("done");
  });

  it("fails with NO_COORDINATOR when there is none at the end of the time", async () => {
    await expect(follow({}, 1)).rejects.toMatchObject({ code: "NO_COORDINATOR" });
  });

  it("asks a successor again only where its predecessor obtained nothing", async () => {
    let requests = 0;
    const { result } = await follow({
      rotation: (id) =>
        id === "r8-1" ? Promise.resolve({ ...requested, id, state: "done" as const }) : unknown(),
      status: async () => status(4),
      agents: async () => [],
      request: async () => {
        requests += 1;
        return { ...requested, id: "r8-1" };
      },
    });
    expect(result).toMatchObject({ id: "r8-1", state: "done" });
    expect(requests).toBe(1);
  });

  it("after a takeover waits for agents that the successor has not heard of yet", async () => {
    let rounds = 0;
    const { result } = await follow({
      rotation: unknown,
      status: async () => status(5),
      agents: async () => {
        rounds += 1;
        return rounds < 4 ? [agent("a", 5)] : [agent("a", 5), agent("b", 5)];
      },
    });
    expect(rounds).toBe(4);
    expect(result).toMatchObject({ state: "done", generation: 5, applied: 2, missing: [] });
  });

  it("after a takeover names agents that were lost meanwhile", async () => {
    const { result } = await follow({
      rotation: unknown,
      status: async () => status(5),
      agents: async () => [agent("a", 5), agent("b", 4, "lost")],
    });
    expect(result).toMatchObject({ state: "done", missing: ["b"] });
  });

  it("after a takeover does not wait for an agent that the successor knew, and that has left", async () => {
    let rounds = 0;
    const { result } = await follow({
      rotation: unknown,
      status: async () => status(5),
      agents: async () => {
        rounds += 1;
        return rounds < 3 ? [agent("a", 5), agent("b", 4)] : [agent("a", 5)];
      },
    });
    expect(rounds).toBe(3);
    expect(result).toMatchObject({ state: "done", applied: 1, missing: [] });
  });

  it("passes on a refusal at once", async () => {
    const refused = () => Promise.reject(new EvergrantError("NOT_AUTHORISED", "no"));
    const { clock } = await follow({ rotation: async () => ({ ...requested, state: "failed" }) });
    expect(clock.now().mono).toBeLessThan(1_000_000 + durationMs(2000));
    await expect(follow({ rotation: refused })).rejects.toMatchObject({ code: "NOT_AUTHORISED" });
  });
});
