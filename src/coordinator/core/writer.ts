/**
 * The one writer of the state. `truth` is what should be stored, `committed` what is known to be;
 * whoever needs a change to be durable waits until `committedSeq` has reached its number.
 *
 * phase: unread -> reading -> fencing (the first write under the own term) -> open.
 */
import type { EvergrantError } from "../../protocol/errors.ts";
import type { MonoMs } from "../../protocol/time.ts";
import { ALWAYS, due, log, newOp, plus, type Turn, unwarn, warn } from "./core.ts";
import type { Event, Op } from "./effects.ts";
import type { JobState } from "./job-state.ts";
import { leaseDeadline, noteTerm } from "./lease.ts";

export interface Writer {
  phase: "unread" | "reading" | "fencing" | "open";
  /** Undefined until the first state is read or made. Survives the loss of leadership, as a fallback. */
  truth: JobState | undefined;
  committed: JobState | undefined;
  truthSeq: number;
  committedSeq: number;
  revision: number | undefined;
  op: Op | undefined;
  /** The write under way, or the last one whose outcome is unknown. */
  writing: { readonly seq: number; readonly state: JobState } | undefined;
  notBefore: MonoMs;
}

export const newWriter = (): Writer => ({
  phase: "unread",
  truth: undefined,
  committed: undefined,
  truthSeq: 0,
  committedSeq: 0,
  revision: undefined,
  op: undefined,
  writing: undefined,
  notBefore: ALWAYS,
});

/** Changes the truth. Yields the number at which the change will be durable. */
export function changeTruth(turn: Turn, change: (truth: JobState) => JobState): number {
  const { writer } = turn.core;
  if (writer.truth === undefined) throw new RangeError("there is no state to change yet");
  const changed = change(writer.truth);
  if (changed !== writer.truth) {
    writer.truth = changed;
    writer.truthSeq += 1;
  }
  return writer.truthSeq;
}

export const isDurable = ({ core }: Turn, seq: number): boolean =>
  core.writer.phase === "open" && core.writer.committedSeq >= seq;

/** True when nothing is being written: results that came in together can be merged. */
export const writerIsIdle = ({ core }: Turn): boolean =>
  core.writer.phase === "open" && core.writer.op === undefined;

export function advanceWriter(turn: Turn): void {
  const { core, now } = turn;
  const { writer, leadership, settings } = core;
  if (leadership.held === undefined || leadership.role === "taking" || leadership.role === "over") {
    return;
  }
  if (now.mono >= leaseDeadline(core) || writer.op !== undefined) return;
  // After a reconnect the store may be another one, whose revisions mean nothing to us.
  if (leadership.verify) return;
  if (!due(turn, writer.notBefore)) return;
  if (writer.phase === "unread" || writer.phase === "reading") {
    writer.phase = "reading";
    writer.op = newOp(core);
    turn.effects.push({ kind: "read-state", op: writer.op });
    return;
  }
  if (writer.truth === undefined) return;
  if (writer.phase === "open" && writer.committedSeq >= writer.truthSeq) return;
  const op = newOp(core);
  const state = {
    ...writer.truth,
    term: leadership.term,
    writeNonce: `${settings.holder}.${op}`,
  };
  writer.op = op;
  writer.writing = { seq: writer.truthSeq, state };
  turn.effects.push({ kind: "write-state", op, expected: writer.revision, state });
}

export function onStateRead(turn: Turn, event: Extract<Event, { kind: "state-read" }>): void {
  const { core } = turn;
  const { writer, leadership } = core;
  if (writer.op !== event.op) return;
  writer.op = undefined;
  if (!event.outcome.ok) {
    retryLater(turn, event.outcome.error);
    return;
  }
  unwarn(turn, "state");
  const { entry } = event.outcome.value;
  writer.revision = entry?.revision;
  const stored = entry?.value;
  if (stored !== undefined) leadership.succeeded = true;
  if (stored !== undefined && stored.writeNonce === writer.writing?.state.writeNonce) {
    // The write whose answer was lost did go through.
    committed(turn, writer.writing);
    writer.phase = "open";
    return;
  }
  if (stored !== undefined && stored.term > leadership.term) {
    noteTerm(turn, stored.term);
    // With the lease in hand this is a store that remembers more than the lease: take a higher term.
    return;
  }
  if (
    stored !== undefined &&
    stored.term < leadership.term &&
    writer.committed?.term !== leadership.term
  ) {
    // A predecessor's, or the own one of a former term: it is the truth.
    writer.truth = stored;
  } else if (stored !== undefined && writer.truth === undefined) {
    writer.truth = stored;
  }
  // Nothing stored, or less than we know: what is in memory is written again.
  if (writer.truth === undefined) writer.truth = freshState(turn);
  writer.truthSeq += 1;
  writer.phase = "fencing";
}

export function onStateWritten(turn: Turn, event: Extract<Event, { kind: "state-written" }>): void {
  const { core } = turn;
  const { writer } = core;
  if (writer.op !== event.op) return;
  writer.op = undefined;
  if (event.outcome.ok) {
    writer.revision = event.outcome.value;
    if (writer.writing !== undefined) committed(turn, writer.writing);
    writer.phase = "open";
    return;
  }
  // Unknown, or somebody else wrote: the stored nonce tells which.
  writer.phase = "reading";
  if (event.outcome.error.code !== "STORE_CONFLICT") retryLater(turn, event.outcome.error);
}

function committed(turn: Turn, written: { seq: number; state: JobState }): void {
  const { writer } = turn.core;
  writer.committedSeq = written.seq;
  writer.committed = written.state;
  writer.writing = undefined;
}

function retryLater(turn: Turn, error: EvergrantError): void {
  const { writer, settings } = turn.core;
  writer.notBefore = plus(turn.now.mono, settings.timing.storeRetry);
  if (error.code === "STORE_UNREADABLE") {
    warn(
      turn,
      "state",
      "the stored state does not open with this job key file: start with the job's own --job-key",
    );
  } else {
    log(turn, "warn", "the state store is away", { code: error.code });
  }
}

function freshState(turn: Turn): JobState {
  const { settings, leadership } = turn.core;
  return {
    term: leadership.term,
    generation: 0,
    writeNonce: "",
    groupKids: [settings.newGroupKid],
    providers: {},
    tombstones: [],
    tokenUses: {},
  };
}
