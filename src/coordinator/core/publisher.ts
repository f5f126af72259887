/**
 * The bundle: derived from the committed state, sealed once for each (term, generation), written by
 * compare-and-set with the same bytes on every retry. The write is the broadcast.
 */
import type { Bundle } from "../../protocol/bundle.ts";
import { expiryOnCoordinatorClock } from "../../protocol/credential.ts";
import { compareVersions, type Version } from "../../protocol/names.ts";
import { durationMs, epochMs, later, type MonoMs, seconds } from "../../protocol/time.ts";
import {
  ALWAYS,
  audit,
  due,
  jobTime,
  log,
  newOp,
  plus,
  rounded,
  type Turn,
  unwarn,
  warn,
} from "./core.ts";
import type { Event, Op } from "./effects.ts";
import type { JobState } from "./job-state.ts";
import { isLeading, leaseDeadline, noteTerm } from "./lease.ts";

export interface Publisher {
  /** Of the stored bundle; `unknown`: to be read first. */
  revision: number | undefined | "unknown";
  sealed: { readonly version: Version; readonly bytes: Uint8Array } | undefined;
  published: Version | undefined;
  op: Op | undefined;
  sealing: Version | undefined;
  notBefore: MonoMs;
  /** When the first write of what is sealed began: agents may have it from then on. */
  writeBegan: MonoMs | undefined;
  /** A new leader has yet to ask the agents to report. */
  reportWanted: boolean;
  /** They have yet to be told of a new group key. */
  rekeyWanted: boolean;
}

export const newPublisher = (): Publisher => ({
  revision: "unknown",
  sealed: undefined,
  published: undefined,
  op: undefined,
  sealing: undefined,
  notBefore: ALWAYS,
  writeBegan: undefined,
  reportWanted: false,
  rekeyWanted: false,
});

const same = (a: Version | undefined, b: Version): boolean =>
  a !== undefined && compareVersions(a, b) === 0;

/** What should be published now; undefined while there is nothing to say. */
function wanted({ core }: Turn): Version | undefined {
  const state = core.writer.committed;
  if (state === undefined || state.term !== core.leadership.term || state.generation === 0) {
    return undefined;
  }
  return { term: state.term, generation: state.generation };
}

/** The current sealed bundle, once it is published: what registrations and pushes carry. */
export function currentSealed({ core }: Turn): Uint8Array | undefined {
  const { sealed, published } = core.publisher;
  return sealed !== undefined && same(published, sealed.version) ? sealed.bytes : undefined;
}

/** True when everything that is committed is out, or there is nothing yet. */
export function isPublished(turn: Turn): boolean {
  const target = wanted(turn);
  return target === undefined || same(turn.core.publisher.published, target);
}

export function advancePublisher(turn: Turn): void {
  const { core, now } = turn;
  const { publisher, writer } = core;
  if (!isLeading(core) || core.leadership.verify || now.mono >= leaseDeadline(core)) return;
  const target = wanted(turn);
  if (target === undefined || same(publisher.published, target)) return;
  if (publisher.op !== undefined || !due(turn, publisher.notBefore)) return;
  const op = newOp(core);
  publisher.op = op;
  if (!same(publisher.sealed?.version, target)) {
    publisher.sealing = target;
    const kid = writer.committed?.groupKids[0];
    if (writer.committed === undefined || kid === undefined) return;
    turn.effects.push({ kind: "seal-bundle", op, bundle: bundleOf(turn, writer.committed), kid });
  } else if (publisher.revision === "unknown") {
    turn.effects.push({ kind: "read-bundle", op });
  } else if (publisher.sealed !== undefined) {
    publisher.writeBegan ??= now.mono;
    turn.effects.push({
      kind: "write-bundle",
      op,
      expected: publisher.revision,
      sealed: publisher.sealed.bytes,
    });
  }
}

function bundleOf(turn: Turn, state: JobState): Bundle {
  const sealedAt = rounded(jobTime(turn));
  const credentials = Object.values(state.providers).flatMap(({ credential }) =>
    credential !== undefined && expiryOnCoordinatorClock(credential) > sealedAt ? [credential] : [],
  );
  const ends = credentials.map(expiryOnCoordinatorClock);
  const { tenant, job } = turn.core.settings.id;
  return {
    tenant,
    job,
    term: state.term,
    generation: state.generation,
    sealedAt,
    expiresAt:
      ends.length > 0
        ? epochMs(Math.max(...ends))
        : later(sealedAt, durationMs(24 * seconds(3600))),
    credentials,
    tombstones: state.tombstones,
  };
}

export function onBundleSealed(turn: Turn, event: Extract<Event, { kind: "bundle-sealed" }>): void {
  const { publisher } = turn.core;
  if (publisher.op !== event.op) return;
  publisher.op = undefined;
  if (event.outcome.ok && publisher.sealing !== undefined) {
    publisher.sealed = { version: publisher.sealing, bytes: event.outcome.value };
    publisher.writeBegan = undefined;
    unwarn(turn, "bundle");
    return;
  }
  if (!event.outcome.ok) failed(turn, event.outcome.error.code, event.outcome.error.message);
}

export function onBundleRead(turn: Turn, event: Extract<Event, { kind: "bundle-read" }>): void {
  const { publisher, leadership } = turn.core;
  if (publisher.op !== event.op) return;
  publisher.op = undefined;
  if (!event.outcome.ok) {
    // An unreadable bundle is nobody's truth: it is overwritten, whatever its revision.
    failed(turn, event.outcome.error.code, event.outcome.error.message);
    return;
  }
  const { entry } = event.outcome.value;
  publisher.revision = entry?.revision;
  if (entry === undefined) return;
  noteTerm(turn, entry.value.term);
  if (entry.value.term > leadership.term) return;
  if (publisher.sealed !== undefined && same(entry.value, publisher.sealed.version)) {
    published(turn, publisher.sealed.version); // The write whose answer was lost did go through.
  }
}

export function onBundleWritten(
  turn: Turn,
  event: Extract<Event, { kind: "bundle-written" }>,
): void {
  const { publisher } = turn.core;
  if (publisher.op !== event.op) return;
  publisher.op = undefined;
  if (!event.outcome.ok) {
    publisher.revision = "unknown";
    if (event.outcome.error.code !== "STORE_CONFLICT") {
      failed(turn, event.outcome.error.code, event.outcome.error.message);
    }
    return;
  }
  publisher.revision = event.outcome.value;
  if (publisher.sealed !== undefined) published(turn, publisher.sealed.version);
}

function published(turn: Turn, version: Version): void {
  const { core } = turn;
  core.publisher.published = version;
  unwarn(turn, "bundle");
  audit(turn, "published", { generation: version.generation });
  log(turn, "info", "bundle published", { ...version });
  core.rotations.published(turn, version, core.publisher.writeBegan ?? turn.now.mono);
}

function failed(turn: Turn, code: string, message: string): void {
  const { publisher, settings } = turn.core;
  publisher.notBefore = plus(turn.now.mono, settings.timing.storeRetry);
  if (code === "STORE_UNAVAILABLE") log(turn, "warn", "the bundle store is away", { code });
  else warn(turn, "bundle", `the bundle can't be published: ${message}`);
}
