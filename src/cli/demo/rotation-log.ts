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
  /**
   * How many agents were there to apply this generation before a newer one took its place: who joins
   * later finds the newer one only.
   */
  expected(generation: number): number;
  /** Every known rotation has ended, and all who were there have applied it. */
  settled(): boolean;
}

export function rotationLog(): RotationLog {
  const known = new Map<number, RotationStatus>();
  const told = new Set<number>();
  const present = new Map<number, number>();
  const expected = (generation: number): number => present.get(generation) ?? 0;
  return {
    take(status) {
      const ended: RotationStatus[] = [];
      for (const rotation of status.rotations) {
        known.set(rotation.generation, rotation);
        if (rotation.state !== "done" || told.has(rotation.generation)) continue;
        told.add(rotation.generation);
        ended.push(rotation);
      }
      const newest = Math.max(0, ...known.keys());
      // Only while its bundle is out: an agent that joins now gets what is published.
      if (known.get(newest)?.state === "done") present.set(newest, status.agents.upToDate);
      return ended;
    },
    expected,
    all: () => [...known.values()].sort((a, b) => a.generation - b.generation),
    settled: () =>
      known.size > 0 &&
      [...known.values()].every(
        ({ generation, state, applied }) => state === "done" && applied >= expected(generation),
      ),
  };
}
