/** Somebody who asks for rotations, and watches how they end (I7). */
import type { AnswerEnvelope, Command } from "../../src/protocol/control.ts";
import { JOB, type SimCoordinator } from "./sim-coordinator.ts";
import { EPOCH } from "./sim-node.ts";
import type { World } from "./world.ts";

export class Operator {
  readonly #world: World;
  #requests = 1_000_000_000;
  #nonces = 0;
  readonly #asked = new Map<number, Command>();
  /** Rotations that it will ask about next. */
  readonly #watched = new Set<string>();
  /** How often it has asked about each: more and more rarely, or a hundred that wait would be a storm. */
  readonly #tries = new Map<string, number>();
  /** Rotations that were asked for. */
  requested = 0;
  done = 0;

  constructor(world: World) {
    this.#world = world;
  }

  rotate(provider: string): void {
    this.requested += 1;
    this.#world.oracle.onRotateAsked(provider);
    this.#give({ kind: "rotate", providers: [provider], text: "because" });
  }

  end(): void {
    this.#give({ kind: "end" });
  }

  #give(command: Command): void {
    const { timeline, coordinators, nats, profile } = this.#world;
    this.#nonces += 1;
    // Its clock is no better than the others'.
    const issuedAtMs = Math.round(EPOCH + timeline.now + profile.wallSpread);
    const envelope = {
      v: 1 as const,
      ...JOB,
      operator: "op",
      nonce: `nonce-of-the-operator-${this.#nonces}`,
      issuedAtMs,
      notAfterMs: issuedAtMs + 120_000,
      command,
    };
    for (const coordinator of coordinators) {
      this.#requests += 1;
      const request = this.#requests;
      this.#asked.set(request, command);
      nats.toNode(coordinator.node, () =>
        coordinator.emitLink?.({ kind: "command", request, envelope }),
      );
    }
  }

  answered(by: SimCoordinator, request: number, { answer }: AnswerEnvelope): void {
    const world = this.#world;
    if (!this.#asked.delete(request)) return; // Answered before: the answer was doubled on its way.
    world.trace("operator", `is answered by ${by.node.name}`, answer);
    if (answer.kind === "ending") world.endedOnce = true;
    if (answer.kind !== "rotation") return;
    const { rotation } = answer;
    if (rotation.state === "done") {
      this.done += 1;
      world.oracle.onRotationDone(by, rotation);
      return;
    }
    if (rotation.state === "failed") return;
    if (this.#watched.has(rotation.id)) return;
    this.#watched.add(rotation.id);
    const tries = this.#tries.get(rotation.id) ?? 0;
    this.#tries.set(rotation.id, tries + 1);
    world.timeline.after(1000 * world.profile.scale * Math.min(16, 2 ** tries), () => {
      this.#watched.delete(rotation.id);
      this.#give({ kind: "rotation", id: rotation.id });
    });
  }
}
