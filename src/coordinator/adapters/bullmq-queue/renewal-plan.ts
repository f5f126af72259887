/**
 * What a schedule must change to hold exactly a plan: pure, the same for BullMQ and for the
 * simulated queue of the tests. Owns the identity of an attempt; refuses to know any store.
 */
import { NAME_PATTERN } from "../../../protocol/names.ts";
import { type DurationMs, type EpochMs, epochMs } from "../../../protocol/time.ts";
import type { PlannedAttempt } from "../../ports/renewal-queue.ts";

/** One entry of a plan: an attempt and how long from now it is due. */
export type PlannedDue = PlannedAttempt & { readonly delay: DurationMs };

/** What a schedule holds under one id. */
export interface Held {
  readonly id: string;
  /**
   * `planned`: waits for its due time. `due`: that has come, nobody took it yet. `taken`: being
   * raised right now. `over`: kept although it ran or failed, and so in the way of its own id.
   */
  readonly state: "planned" | "due" | "taken" | "over";
  /** Known for `planned` only. */
  readonly due?: EpochMs;
}

/** What has to be done, in this order. */
export interface Change {
  readonly remove: readonly string[];
  readonly add: readonly PlannedDue[];
}

/**
 * An entry whose due time is further than this from the plan's is moved. It gets there when the
 * wall clock, by which Redis and BullMQ count, has stepped. Below it, the difference is only the
 * time that a command took.
 */
export const DUE_TOLERANCE_MS = 1_000;

/**
 * The id of an attempt, the same whoever plans it: adding it twice is harmless. BullMQ refuses ids
 * that are digits only or hold a colon; this is neither.
 */
export function attemptId(attempt: PlannedAttempt): string {
  return `${attempt.provider}-g${attempt.generation}-a${attempt.attempt}`;
}

/** The three parts of an attempt and nothing else: what may leave for the store (I9). */
export function attemptOf(from: PlannedAttempt): PlannedAttempt {
  return { provider: from.provider, generation: from.generation, attempt: from.attempt };
}

/** What came back from the store, if it is an attempt at all; others can write there. */
export function parseAttempt(data: unknown): PlannedAttempt | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const { provider, generation, attempt } = data as Record<string, unknown>;
  if (typeof provider !== "string" || !NAME_PATTERN.test(provider)) return undefined;
  if (!isCount(generation) || !isCount(attempt)) return undefined;
  return { provider, generation, attempt };
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;

/**
 * The change that makes `held` hold exactly `plan`. Of two plans for one id the earlier counts.
 * What is due or taken stays, since it is being raised; so does what is planned for the right time.
 */
export function changeFor(
  plan: readonly PlannedDue[],
  held: readonly Held[],
  wall: EpochMs,
): Change {
  const wanted = new Map<string, PlannedDue>();
  for (const entry of plan) {
    const id = attemptId(entry);
    const other = wanted.get(id);
    if (other === undefined || entry.delay < other.delay) wanted.set(id, entry);
  }
  const remove: string[] = [];
  const missing = new Map(wanted);
  for (const entry of held) {
    const want = wanted.get(entry.id);
    if (want !== undefined && stays(entry, want, wall)) missing.delete(entry.id);
    else if (entry.state !== "taken") remove.push(entry.id);
  }
  return { remove, add: [...missing.values()] };
}

function stays(held: Held, want: PlannedDue, wall: EpochMs): boolean {
  if (held.state === "over") return false;
  if (held.state !== "planned" || held.due === undefined) return true;
  return Math.abs(held.due - epochMs(wall + want.delay)) <= DUE_TOLERANCE_MS;
}
