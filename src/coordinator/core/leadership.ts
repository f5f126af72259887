/**
 * Who leads (design, section 6). In words:
 *
 * seeking -> reads the lease. Nobody's, released, or its own: taking. Another's: waiting.
 * waiting -> looks again and again; unmoved for ttl + margin on the own clock: taking.
 * taking  -> compare-and-set of the lease under a higher term; then loading.
 * loading -> the writer reads the state and fences it with the new term; then leading.
 * leading -> everything else works. The lease is renewed; once its deadline has passed unrenewed,
 *            or somebody else holds it, back to seeking: all that was planned is put down.
 * over    -> the job has ended, or this process has handed over.
 *
 * I5: two coordinators never publish under one term: a term is taken by compare-and-set only, is
 * above every term that anybody has shown, and its holder stops acting a margin before another may
 * take over.
 */
import { type DurationMs, later, type MonoMs } from "../../protocol/time.ts";
import { audit, type Core, due, jobTime, log, newOp, plus, type Turn, wake } from "./core.ts";
import type { Event, StoreReading } from "./effects.ts";
import { type HeldLease, leaseDeadline, noteTerm, TERMS_PER_SEC } from "./lease.ts";
import type { LeaseRecord } from "./lease-record.ts";
import { hashUnit } from "./plan.ts";

/** Puts leadership down: another coordinator holds the lease, or may. */
export function fence(turn: Turn, why: string): void {
  const { leadership } = turn.core;
  if (leadership.role === "over") return;
  if (leadership.held !== undefined) {
    log(turn, "warn", "leadership put down", { why, term: leadership.term });
    audit(turn, "coordinator-stops", { text: why });
  }
  if (leadership.role === "leading") turn.effects.push({ kind: "attend", on: false });
  leadership.role = "seeking";
  leadership.held = undefined;
  leadership.leadingSince = undefined;
  leadership.seen = undefined;
  leadership.verify = false;
  leadership.write = undefined;
  leadership.read = undefined;
}

export function advanceLeadership(turn: Turn): void {
  const { core, now } = turn;
  const { leadership, settings } = core;
  const { timing } = settings;
  if (leadership.role === "over") return;
  if (leadership.held !== undefined && now.mono >= leaseDeadline(core)) {
    fence(turn, "the lease could not be renewed in time");
  }
  if (leadership.held !== undefined) wake(turn, leaseDeadline(core));
  if (
    leadership.held !== undefined &&
    leadership.role !== "taking" &&
    leadership.knownTerm > leadership.term
  ) {
    log(turn, "warn", "a higher term is known: taking a new one", {
      term: leadership.term,
      known: leadership.knownTerm,
    });
    leadership.expected = leadership.held.revision;
    leadership.role = "taking";
  }
  if (leadership.read !== undefined || leadership.write !== undefined) return;
  if (!due(turn, leadership.notBefore)) return;
  switch (leadership.role) {
    case "seeking":
      readLease(turn);
      return;
    case "waiting": {
      const since = leadership.seen?.since ?? now.mono;
      const takeAt = plus(since, (timing.leaseTtl + timing.leaseMargin) as DurationMs);
      if (now.mono >= takeAt) {
        log(turn, "warn", "the holder's lease has not moved: taking over", {});
        leadership.expected = leadership.seen?.reading.entry?.revision;
        leadership.role = "taking";
        take(turn);
      } else {
        readLease(turn);
      }
      return;
    }
    case "taking":
      take(turn);
      return;
    case "loading":
    case "leading": {
      const { held } = leadership;
      if (held === undefined) return;
      if (leadership.verify) {
        // A store that was lost counts its revisions anew: what stands at ours may be another's.
        readLease(turn);
      } else if (due(turn, later(held.since, timing.leaseRenew))) {
        writeLease(turn, held.revision, { ...held.record, renewals: held.record.renewals + 1 });
      }
      return;
    }
  }
}

function readLease(turn: Turn): void {
  const op = newOp(turn.core);
  turn.core.leadership.read = op;
  turn.effects.push({ kind: "read-lease", op });
}

/**
 * Above every term that is known, and where none is (all stores were lost), above those of the past and
 * another one than anybody else takes in this second.
 */
function take(turn: Turn): void {
  const { leadership, settings } = turn.core;
  const wallSec = Math.floor(jobTime(turn) / 1000);
  const own = Math.floor(hashUnit("term", settings.holder) * TERMS_PER_SEC);
  const term = Math.max(leadership.knownTerm + 1, wallSec * TERMS_PER_SEC + own);
  writeLease(turn, leadership.expected, {
    holder: settings.holder,
    term,
    renewals: 0,
    state: "held",
  });
}

function writeLease(turn: Turn, expected: number | undefined, record: LeaseRecord): void {
  const op = newOp(turn.core);
  turn.core.leadership.write = { op, record, since: turn.now.mono };
  turn.effects.push({ kind: "write-lease", op, expected, record });
}

export function onLeaseWritten(turn: Turn, event: Extract<Event, { kind: "lease-written" }>): void {
  const { core, now } = turn;
  const { leadership } = core;
  const { write } = leadership;
  if (write?.op !== event.op) return;
  leadership.write = undefined;
  if (event.outcome.ok) {
    hold(turn, event.outcome.value, write.record, write.since);
    return;
  }
  // Lost to somebody else, or unknown: only a look tells. An unknown one may have been written.
  if (leadership.held === undefined) {
    leadership.role = "seeking";
  } else if (leadership.role === "taking") {
    // A higher term was wanted and not had: what was held may be another's by now.
    fence(turn, "a higher term could not be taken");
  } else {
    leadership.verify = true;
    leadership.seen = undefined;
  }
  leadership.notBefore =
    event.outcome.error.code === "STORE_CONFLICT"
      ? now.mono
      : plus(now.mono, core.settings.timing.storeRetry);
}

function hold(turn: Turn, revision: number, record: LeaseRecord, since: MonoMs): void {
  const { core } = turn;
  const { leadership } = core;
  const fresh = record.term !== leadership.term || leadership.held === undefined;
  leadership.held = {
    revision,
    record,
    incarnation: leadership.seen?.reading.incarnation ?? leadership.held?.incarnation ?? "",
    since,
  };
  leadership.verify = false;
  if (!fresh) return;
  leadership.term = record.term;
  leadership.knownTerm = Math.max(leadership.knownTerm, record.term);
  leadership.role = "loading";
  leadership.leadingSince = undefined;
  core.lastSequence = 0;
  restartStores(core);
  log(turn, "info", "lease taken", { term: record.term });
}

/** State and bundle are read again; outcomes that are still under way mean nothing any more. */
function restartStores({ writer, publisher }: Core): void {
  writer.phase = "unread";
  writer.op = undefined;
  // A write of a former term that is found stored proves nothing about this one.
  writer.writing = undefined;
  publisher.op = undefined;
  publisher.revision = "unknown";
  publisher.published = undefined;
}

export function onLeaseRead(turn: Turn, event: Extract<Event, { kind: "lease-read" }>): void {
  const { core, now } = turn;
  const { leadership, settings } = core;
  if (leadership.read !== event.op) return;
  leadership.read = undefined;
  if (!event.outcome.ok) {
    leadership.notBefore = plus(now.mono, settings.timing.storeRetry);
    return;
  }
  const reading = event.outcome.value;
  const record = reading.entry?.value;
  const first = !leadership.looked;
  leadership.looked = true;
  if (record !== undefined) noteTerm(turn, record.term);
  const { held } = leadership;

  if (record?.state === "ended" && (!first || settings.standby)) {
    leadership.role = "over";
    leadership.held = undefined;
    log(turn, "info", "the job has ended", {});
    turn.effects.push({ kind: "finished", how: "ended" });
    return;
  }
  if (held !== undefined) {
    verifyHeld(turn, held, reading);
    return;
  }
  // A lease that was there and is gone went with its store: its holder may yet rewrite it from memory.
  const gone = record === undefined && leadership.role === "waiting";
  const free = record === undefined || record.state !== "held" || record.holder === settings.holder;
  if (free && !gone) {
    leadership.seen = { reading, since: now.mono };
    leadership.expected = reading.entry?.revision;
    leadership.role = "taking";
    return;
  }
  const before = leadership.seen?.reading;
  const moved =
    before?.entry?.revision !== reading.entry?.revision ||
    before?.incarnation !== reading.incarnation;
  if (moved) leadership.seen = { reading, since: now.mono };
  if (leadership.role !== "waiting") {
    log(turn, "info", "another coordinator leads: standing by", { term: leadership.knownTerm });
  }
  leadership.role = "waiting";
  leadership.notBefore = plus(now.mono, settings.timing.leaseWatch);
}

/** A write of the lease that we hold did not go through: what stands there decides. */
function verifyHeld(turn: Turn, held: HeldLease, reading: StoreReading<LeaseRecord>): void {
  const { leadership, settings } = turn.core;
  const { entry } = reading;
  leadership.seen = { reading, since: turn.now.mono };
  if (entry === undefined || reading.incarnation !== held.incarnation) {
    // The store has lost its data, but our time is not over: all of it is rewritten from memory.
    if (entry !== undefined && entry.value.holder !== settings.holder) {
      fence(turn, "another coordinator holds the lease of a renewed store");
      return;
    }
    log(turn, "warn", "the store was lost: rewriting lease, state and bundle", {});
    leadership.expected = entry?.revision;
    restartStores(turn.core);
    leadership.verify = false;
    writeLease(turn, entry?.revision, { ...held.record, renewals: held.record.renewals + 1 });
    return;
  }
  if (entry.value.holder !== settings.holder || entry.value.term !== held.record.term) {
    fence(turn, "another coordinator holds the lease");
    return;
  }
  // Ours: either the write went through unheard, or it did not. Both are mended by the next one.
  held.revision = entry.revision;
  held.record = entry.value;
  leadership.verify = false;
  writeLease(turn, entry.revision, { ...entry.value, renewals: entry.value.renewals + 1 });
}
