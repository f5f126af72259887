/**
 * Every rotation that the coordinator has told of, however long the demo goes on: the coordinator
 * itself forgets all but the last fifty.
 */
import type { JobStatus, RotationStatus } from "../../protocol/control.ts";

export interface RotationLog {
  /** Takes what is new; returns the rotations that have just come to their end. */
  take(status: JobStatus): readonly RotationStatus[];
  /** In the order of their generations. */
  all(): readonly RotationStatus[];
  /** Every known rotation has ended, and every one of them is known to so many agents. */
  settled(agents: number): boolean;
}

export function rotationLog(): RotationLog {
  const known = new Map<number, RotationStatus>();
  const told = new Set<number>();
  return {
    take(status) {
      const ended: RotationStatus[] = [];
      for (const rotation of status.rotations) {
        known.set(rotation.generation, rotation);
        if (rotation.state !== "done" || told.has(rotation.generation)) continue;
        told.add(rotation.generation);
        ended.push(rotation);
      }
      return ended;
    },
    all: () => [...known.values()].sort((a, b) => a.generation - b.generation),
    settled: (agents) =>
      known.size > 0 &&
      [...known.values()].every(({ state, applied }) => state === "done" && applied >= agents),
  };
}
