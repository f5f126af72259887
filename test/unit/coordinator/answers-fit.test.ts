/** What operators are answered fits into a message of NATS (1 MiB by default), however large the job is. */
import { expect, test } from "vitest";
import type { AgentStatus, Answer } from "../../../src/protocol/control.ts";
import { CoreRig } from "../../support/core-rig.ts";

const AGENTS = 10_000;
/** Signed, JSON grows by a third. */
const MOST = (0.7 * 1024 * 1024) / 1.34;

function large(): CoreRig {
  const rig = new CoreRig().start();
  rig.run(60_000);
  for (let i = 0; i < AGENTS; i += 1) {
    rig.report(`executor-${i}.cluster.example`, `instance-of-executor-${i}`, {
      ...(i % 100 === 0 ? { failing: { "aws-container/lake": "RECEIVER_FAILED" } } : {}),
      runwayMs: { lake: 3_000_000 },
    });
  }
  return rig;
}

const sizeOf = (answer: Answer | undefined): number => JSON.stringify(answer).length;

test("ten thousand agents are listed in parts, each of them once", () => {
  const rig = large();
  const all: AgentStatus[] = [];
  let after: string | undefined;
  let parts = 0;
  do {
    const answer = rig.command({ kind: "agents", ...(after === undefined ? {} : { after }) });
    if (answer?.kind !== "agents") throw new Error(`answered with ${answer?.kind}`);
    expect(sizeOf(answer)).toBeLessThan(MOST);
    all.push(...answer.agents);
    after = answer.next;
    parts += 1;
  } while (after !== undefined);
  expect(parts).toBeGreaterThan(5);
  expect(all).toHaveLength(AGENTS);
  expect(new Set(all.map(({ agent }) => agent)).size).toBe(AGENTS);
  expect(all.filter(({ failing }) => Object.keys(failing).length > 0)).toHaveLength(AGENTS / 100);
});

test("rotations that ten thousand agents have not applied name some of them, and count all", () => {
  const rig = large();
  const asked = rig.command({ kind: "rotate", text: "test" });
  const id = asked?.kind === "rotation" ? asked.rotation.id : "";
  const answer = rig.command({ kind: "rotation", id });
  if (answer?.kind !== "rotation") throw new Error(`answered with ${answer?.kind}`);
  expect(answer.rotation.missing).toHaveLength(100);
  expect(answer.rotation.missingCount).toBe(AGENTS);
  for (let round = 0; round < 30; round += 1) {
    rig.command({ kind: "rotate", text: "test" });
    rig.run(300_000);
  }
  // Nobody has acked: each of them is missing ten thousand, who are lost by now.
  const status = rig.command({ kind: "status" });
  if (status?.kind !== "status") throw new Error(`answered with ${status?.kind}`);
  expect(status.status.rotations.filter((r) => r.missing.length === 100).length).toBeGreaterThan(0);
  expect(sizeOf(status)).toBeLessThan(MOST);
});

test("two agents of one name are one name that is missing", () => {
  const rig = new CoreRig().start();
  rig.run(60_000);
  for (const instance of ["i1", "i2"]) rig.report("twin", instance);
  const asked = rig.command({ kind: "rotate", text: "test" });
  const id = asked?.kind === "rotation" ? asked.rotation.id : "";
  const answer = rig.command({ kind: "rotation", id });
  expect(answer).toMatchObject({ rotation: { missing: ["twin"], missingCount: 1 } });
});
