/** What must hold when all troubles are over, and at the end of the job. */
import type { JobState } from "../../src/coordinator/core/job-state.ts";
import type { LeaseRecord } from "../../src/coordinator/core/lease-record.ts";
import { CALL_WINDOW, MAX_CALLS } from "../../src/coordinator/core/settings.ts";
import { compareVersions, type Version } from "../../src/protocol/names.ts";
import type { Oracle } from "./oracle.ts";
import type { World } from "./world.ts";

/** Why it is not; undefined when all is as it should be. */
export function notAtRest(world: World, oracle: Oracle): string | undefined {
  const alive = world.coordinators.filter((c) => c.node.alive && !c.over);
  const leaders = alive.filter((c) => c.leads);
  const [leader] = leaders;
  if (leaders.length !== 1 || leader === undefined) return `${leaders.length} leaders`;
  const state = world.nats.peek("state") as JobState | undefined;
  const sealed = world.nats.peek("bundle") as Uint8Array | undefined;
  if (state === undefined || sealed === undefined) return "no state or no bundle";
  const { bundle, kid } = world.seals.lookUp(sealed);
  if (compareVersions(bundle, state) !== 0) {
    return `the bundle is ${bundle.term}.${bundle.generation}, the state ${state.term}.${state.generation}`;
  }
  if (!kid.startsWith(`${leader.seals?.groupSet}.`)) return "the bundle is under a former key set";
  // With clocks that have gone mad all will be fresh some day, but nobody can say when.
  if (oracle.jumped > 0) return behind(world, bundle);
  const planned = world.redis.planned();
  for (const [name, digest] of leader.digests) {
    const record = state.providers[name];
    const credential = record?.credential;
    if (record === undefined || credential === undefined) {
      if (oracle.callsWithin(name, CALL_WINDOW) >= MAX_CALLS) return undefined;
      return `no credential of ${name}`;
    }
    if (oracle.issuanceOf(credential).expiresAt <= world.timeline.now) {
      // Its calls are used up (I11): that is a matter of minutes, not of this seed.
      if (oracle.callsWithin(name, CALL_WINDOW) >= MAX_CALLS) return undefined;
      return `${name} has expired`;
    }
    if (record.configDigest !== digest) return `${name} is of another configuration`;
    // A standby takes what is due by its own clock, and lets it fall.
    const alone = world.coordinators.length === 1;
    const waits = oracle.callsWithin(name, CALL_WINDOW) >= MAX_CALLS;
    if (alone && !waits && planned.filter((p) => p.provider === name).length !== 1)
      return `${name} is not planned`;
    const mark = oracle.markOf(credential);
    for (const agent of world.agents) {
      if (!agent.node.alive) return `${agent.node.name} is down`;
      const serving = agent.handsOut(`probe/${name}`);
      if (serving === undefined) return `${agent.node.name} serves nothing of ${name}`;
      const served = serving.credential;
      if (oracle.markOf(served) !== mark || served.expiresAt !== credential.expiresAt) {
        return `${agent.node.name} serves an old credential of ${name}`;
      }
    }
  }
  for (const agent of world.agents) {
    for (const receiver of agent.serving.keys()) {
      const provider = receiver.slice(receiver.indexOf("/") + 1);
      // Whoever lost all stores and every coordinator that knew of it can't take it back: it expires.
      const known = state.tombstones.some((tombstone) => tombstone.provider === provider);
      if (!leader.digests.has(provider) && (known || !wiped(world))) {
        return `${agent.node.name} serves ${provider}, which was dropped`;
      }
    }
  }
  return behind(world, bundle);
}

const wiped = ({ faults }: World): boolean =>
  faults.met.has("both-wiped") || faults.met.has("nats-wiped");

/** Who has not the current bundle. */
function behind(world: World, bundle: Version): string | undefined {
  for (const agent of world.agents) {
    const health = agent.driver?.health();
    if (health === undefined || compareVersions(health, bundle) !== 0) {
      return `${agent.node.name} holds ${health?.term}.${health?.generation}, not ${bundle.term}.${bundle.generation}`;
    }
  }
  return undefined;
}

export function atEnd(world: World): string | undefined {
  const lease = world.nats.peek("lease") as LeaseRecord | undefined;
  if (lease?.state !== "ended") return `the lease is ${lease?.state ?? "gone"}`;
  if (world.nats.peek("state") !== undefined) return "the state is still stored";
  if (world.nats.peek("bundle") !== undefined) return "the bundle is still stored";
  if (world.redis.planned().length > 0) return "the queue still holds a plan";
  const running = world.coordinators.find((c) => !c.over);
  if (running !== undefined) return `${running.node.name} still runs`;
  const waiting = world.agents.find((agent) => !agent.ended);
  if (waiting !== undefined) return `${waiting.node.name} was not told`;
  return undefined;
}
