/**
 * A new group key when the job key file has another current set (docs/protocol.md, "Rotation of the
 * keys"). Owns when; refuses to know keys: a group key's id begins with the id of its set.
 */
import { log, noticeOf, type Turn } from "./core.ts";
import { isPublished } from "./publisher.ts";
import { changeTruth } from "./writer.ts";

/** Older ones are of agents that have not registered since the rotation before the last one. */
const KEPT = 3;

/** At the start of a leadership: puts a group key of the current set before those of older ones. */
export function rekey(turn: Turn): void {
  const { core } = turn;
  const { newGroupKid } = core.settings;
  if (isCurrent(turn, core.writer.truth?.groupKids[0])) return;
  changeTruth(turn, (state) => ({
    ...state,
    // What was published under the old key is published anew; what never was still isn't.
    generation: state.generation === 0 ? 0 : state.generation + 1,
    groupKids: [newGroupKid, ...state.groupKids.filter((kid) => kid !== newGroupKid)].slice(
      0,
      KEPT,
    ),
  }));
  core.publisher.rekeyWanted = true;
  log(turn, "info", "the job key file has a new first key set: a new group key", {});
}

/** Once the bundle is out under the new key, everybody is asked to fetch it, spread out. */
export function announceRekey(turn: Turn): void {
  const { core } = turn;
  const kid = core.writer.committed?.groupKids[0];
  if (!core.publisher.rekeyWanted || kid === undefined || !isCurrent(turn, kid)) return;
  if (!isPublished(turn)) return;
  core.publisher.rekeyWanted = false;
  turn.effects.push(noticeOf(turn, { kind: "rekey", kid }));
}

const isCurrent = ({ core }: Turn, kid: string | undefined): boolean =>
  kid?.startsWith(`${core.settings.groupSet}.`) === true;
