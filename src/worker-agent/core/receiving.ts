/**
 * Receivers. What each should serve follows from what is held, so its mailbox has room for one and
 * the newest wins by itself: when an errand ends, the next is looked up, not queued. One errand per
 * receiver at a time; one that failed is tried again on a ladder, at once when there is something
 * newer. A receiver is asked to withdraw at expiry, and holds to `until` by itself as well (I2).
 */
import { compareVersions } from "../../protocol/names.ts";
import { between, durationMs, later, type MonoMs, type Now } from "../../protocol/time.ts";
import type { AgentEvent, Held } from "./events.ts";
import { unitHash, waitOf } from "./settings.ts";
import { type AgentState, type Errand, type Out, purposeOf, type ReceiverState } from "./state.ts";

type Of<Kind extends AgentEvent["kind"]> = Extract<AgentEvent, { kind: Kind }>;

const targetOf = (state: AgentState, receiver: ReceiverState): Held | undefined =>
  state.held.get(receiver.spec.provider);

export function onReceiver(state: AgentState, event: Of<"receiver">, now: Now, out: Out): void {
  const receiver = state.receivers.get(event.receiver);
  const errand = receiver?.errand;
  if (receiver === undefined || errand === undefined || errand.attempt !== event.attempt) return;
  receiver.errand = undefined;
  if (event.code !== undefined) {
    receiver.failed = { errand, code: event.code };
    receiver.failures += 1;
    const unit = unitHash(...purposeOf(state, receiver.id, receiver.failures));
    const wait = waitOf(state.settings.timings.receiverRetry, receiver.failures, unit);
    receiver.retryAt = later(now.mono, wait);
    const news = { kind: "receiver-failed", receiver: receiver.spec, code: event.code } as const;
    out.push({ kind: "tell", news });
    return;
  }
  receiver.failed = undefined;
  receiver.failures = 0;
  receiver.retryAt = undefined;
  if (errand.what === "start") {
    receiver.started = true;
    return;
  }
  receiver.serving = errand.held;
  if (errand.held === undefined) return;
  receiver.took = durationMs(Math.max(0, between(errand.held.arrivedAt, now.mono)));
  const { generation } = errand.held.credential;
  const news = { kind: "applied", receiver: receiver.spec, generation } as const;
  out.push({ kind: "tell", news: { ...news, took: receiver.took } });
}

/** What the receiver should be doing now, if it is free to. */
function nextErrand(
  state: AgentState,
  receiver: ReceiverState,
  now: Now,
): Pick<Errand, "what" | "held"> | undefined {
  if (!receiver.started) return { what: "start", held: undefined };
  const target = targetOf(state, receiver);
  const { serving } = receiver;
  if (serving !== undefined && (target === undefined || serving.until <= now.mono)) {
    return { what: "withdraw", held: undefined };
  }
  if (target === undefined || target === serving || !mayApply(state)) return undefined;
  return { what: "apply", held: target };
}

/** I1, over a restart as well: nothing is applied before the disk has answered for its version. */
function mayApply(state: AgentState): boolean {
  if (!state.settings.persistent || state.accepted === undefined) return true;
  return compareVersions(state.persisted, state.accepted) >= 0;
}

export function advanceReceiving(state: AgentState, now: Now, out: Out): void {
  for (const receiver of state.receivers.values()) {
    if (receiver.errand !== undefined) continue;
    const next = nextErrand(state, receiver, now);
    if (next === undefined) continue;
    if (waits(receiver, next, now)) continue;
    state.attempts += 1;
    const attempt = state.attempts;
    const overdueAt = later(now.mono, state.settings.timings.receiverTimeout);
    receiver.errand = { attempt, ...next, overdueAt };
    const { id, spec } = receiver;
    if (next.what === "start") out.push({ kind: "start", receiver: id, attempt, spec });
    else if (next.held !== undefined) {
      out.push({ kind: "apply", receiver: id, attempt, held: next.held });
    } else out.push({ kind: "withdraw", receiver: id, attempt, provider: spec.provider });
  }
}

/** After a failure of the same errand, until the ladder says so. Another errand need not wait. */
function waits(receiver: ReceiverState, next: Pick<Errand, "what" | "held">, now: Now): boolean {
  const failed = receiver.failed?.errand;
  if (failed === undefined || receiver.retryAt === undefined) return false;
  if (failed.what !== next.what || failed.held !== next.held) {
    // Newest wins: a fresh credential gets a fresh ladder.
    receiver.failures = 0;
    return false;
  }
  return receiver.retryAt > now.mono;
}

export function receivingDeadline(state: AgentState, now: Now): MonoMs | undefined {
  let first: MonoMs | undefined;
  const consider = (at: MonoMs | undefined): void => {
    if (at !== undefined && at > now.mono && (first === undefined || at < first)) first = at;
  };
  for (const receiver of state.receivers.values()) {
    if (receiver.errand === undefined) {
      consider(receiver.retryAt);
      consider(receiver.serving?.until);
    } else consider(receiver.errand.overdueAt);
  }
  return first;
}
