/** Watches every agent: what it accepts, applies, hands out and misses (I1, I2, I4, I7). */
import type { JobState } from "../../src/coordinator/core/job-state.ts";
import type { Bundle } from "../../src/protocol/bundle.ts";
import type { RotationStatus } from "../../src/protocol/control.ts";
import { compareVersions, type Version } from "../../src/protocol/names.ts";
import type { Serving } from "../../src/worker-agent/ports/credential-receiver.ts";
import type { Oracle } from "./oracle.ts";
import type { SimAgent } from "./sim-agent.ts";
import type { SimCoordinator } from "./sim-coordinator.ts";

interface Known {
  accepted: Version;
  /** Of an earlier process, where nothing was lost with it. */
  floor: Version;
  /** A disk that failed, or was lost: no promise over the next restart. */
  promises: boolean;
}

const NOTHING: Version = { term: 0, generation: 0 };

export class AgentOracle {
  readonly #oracle: Oracle;
  readonly #known = new Map<string, Known>();
  /** By instance and receiver: the version and the generation that it has applied last. */
  readonly #applied = new Map<string, { version: Version; generation: number }>();
  /** Which bundles bear a credential, by its mark and expiry, oldest first. */
  readonly #bearers = new Map<string, Version[]>();
  /** When the bundle was last sent again to an agent, by name. */
  readonly #pushed = new Map<string, number>();
  readonly #written = new Set<string>();

  constructor(oracle: Oracle) {
    this.#oracle = oracle;
  }

  /** From now on it may be heard: also one whose write nobody saw go through can be played to an agent. */
  onSealed(bundle: Bundle): void {
    const version = { term: bundle.term, generation: bundle.generation };
    for (const credential of bundle.credentials) {
      const key = `${this.#oracle.markOf(credential)}@${credential.expiresAt}`;
      const bearers = this.#bearers.get(key) ?? [];
      bearers.push(version);
      this.#bearers.set(key, bearers);
    }
  }

  onPushed(agents: readonly string[]): void {
    for (const name of agents) this.#pushed.set(name, this.#oracle.world.timeline.now);
  }

  /**
   * Whoever is known to live and has not answered is sent it again, whatever the weather; beats come later.
   * @param known since when the leader knows that it is published; at first it may wait for the answer
   */
  #watchResend(version: Version, known?: number): void {
    const { world } = this.#oracle;
    const { profile, timeline, agents } = world;
    const at = timeline.now;
    // Each ack that comes in puts it off once.
    const wait = (agents.length + 2) * profile.timing.resendFirst + 200;
    timeline.after(wait, () => {
      const { leader } = world;
      if (leader === undefined || leader.since > at || world.endedOnce) return;
      if (world.good.since(`node:${leader.coordinator.node.name}`) > at) return;
      const core = leader.coordinator.driver?.core();
      const published = core?.publisher.published;
      if (published === undefined || compareVersions(published, version) < 0) {
        this.#watchResend(version);
        return;
      }
      if (compareVersions(published, version) > 0) return;
      // The next one is on its way, and is what will be sent.
      if (core?.writer.committed?.generation !== version.generation) return;
      if (known === undefined) {
        this.#watchResend(version, timeline.now);
        return;
      }
      for (const { agent, held, lost, lastHeard } of core?.roster.agents.values() ?? []) {
        if (lost || compareVersions(held, version) >= 0) continue;
        const silent = leader.coordinator.node.clock.now().mono - lastHeard;
        if (silent < wait || (this.#pushed.get(agent) ?? 0) >= known - wait) continue;
        this.#oracle.violated(
          "I4",
          `${agent} was not sent ${version.term}.${version.generation} again in ${wait} ms`,
        );
      }
    });
  }

  onPublished(bundle: Bundle): void {
    const version = { term: bundle.term, generation: bundle.generation };
    // Once: what is written again, to a store that lost it, is on the long end of its ladder already.
    const name = `${version.term}.${version.generation}`;
    if (!this.#written.has(name)) this.#watchResend(version);
    this.#written.add(name);
    const { profile, timeline, agents } = this.#oracle.world;
    const { resendFirst, beat } = profile.timing;
    // A broadcast that got lost is sent again after 1, 2, 4 s.
    const at = timeline.now;
    const wait = 4 * resendFirst + 200;
    timeline.after(wait, () => {
      const { world } = this.#oracle;
      const { leader } = world;
      const long = at - 3 * beat;
      // Clocks that have jumped make a bundle look over to some: that ends with a registration.
      if (leader === undefined || leader.since > long || this.#oracle.jumped > 0) return;
      for (const agent of agents) {
        const scopes = ["nats", `node:${agent.node.name}`, `node:${leader.coordinator.node.name}`];
        if (agent.joinedAt > long || world.good.since(...scopes) > long) continue;
        if (!world.nats.isUp(agent.node) || agent.ended) continue;
        const held = this.#known.get(agent.instance)?.accepted ?? NOTHING;
        if (compareVersions(held, version) >= 0) continue;
        this.#oracle.violated(
          "I4",
          `${agent.node.name} has not got ${version.term}.${version.generation} after ${wait} ms`,
        );
      }
    });
  }

  onStarts(agent: SimAgent): void {
    const before = this.#known.get(agent.node.name);
    const keeps = agent.folder !== undefined && before?.promises === true;
    const known: Known = {
      accepted: NOTHING,
      floor: keeps ? this.#appliedBy(agent.node.name, before.floor) : NOTHING,
      promises: true,
    };
    this.#known.set(agent.instance, known);
    this.#known.set(agent.node.name, known);
  }

  /** The highest that any process on this node has applied. */
  #appliedBy(node: string, floor: Version): Version {
    let highest = floor;
    for (const [key, { version }] of this.#applied) {
      if (key.startsWith(`${node}-`) && compareVersions(version, highest) > 0) highest = version;
    }
    return highest;
  }

  floorless(agent: SimAgent): void {
    const known = this.#known.get(agent.node.name);
    if (known !== undefined) known.promises = false;
    for (const key of [...this.#applied.keys()]) {
      if (key.startsWith(`${agent.node.name}-`)) this.#applied.delete(key);
    }
  }

  /** I1. */
  onAccepted(agent: SimAgent, version: Version): void {
    const known = this.#known.get(agent.instance);
    if (known === undefined) return;
    if (compareVersions(version, known.accepted) <= 0) {
      this.#oracle.violated(
        "I1",
        `${agent.node.name} accepts ${version.term}.${version.generation} after ${known.accepted.term}.${known.accepted.generation}`,
      );
    }
    if (compareVersions(version, known.floor) < 0) {
      this.#oracle.violated(
        "I1",
        `${agent.node.name} falls behind what it applied before its restart`,
      );
    }
    known.accepted = version;
  }

  onApplied(agent: SimAgent, receiver: string, serving: Serving): void {
    const oracle = this.#oracle;
    const { timeline } = oracle.world;
    const { credential } = serving;
    const key = `${agent.instance}/${receiver}`;
    const before = this.#applied.get(key);
    const floor = before?.version ?? NOTHING;
    const bearers = this.#bearers.get(`${oracle.markOf(credential)}@${credential.expiresAt}`) ?? [];
    const version = bearers
      .filter((bearer) => compareVersions(bearer, floor) >= 0)
      .sort(compareVersions)[0];
    if (version === undefined) {
      oracle.violated(
        "I1",
        `${agent.node.name} applies what is older than ${floor.term}.${floor.generation}`,
      );
      return;
    }
    const disk = agent.folder?.highest;
    const promised = this.#known.get(agent.instance)?.promises === true;
    if (disk !== undefined && promised && compareVersions(disk, version) < 0) {
      oracle.violated("I1", `${agent.node.name} applies what its disk does not know of`);
    }
    this.#applied.set(key, { version, generation: credential.generation });
    this.#unexpired(agent, serving);
    const until = agent.node.trueTime(serving.until);
    const { epoch } = agent.node;
    timeline.at(until + 1, () => {
      if (agent.node.epoch !== epoch || agent.serving.get(receiver) !== serving) return;
      this.#ranOut(agent, serving);
      // I2, in depth: what has ended is taken back, not only held back.
      timeline.after(60_000, () => {
        const { good } = oracle.world;
        if (agent.node.epoch !== epoch || agent.serving.get(receiver) !== serving) return;
        if (good.since(`node:${agent.node.name}`) > until) return;
        oracle.violated("I2", `${agent.node.name} has not withdrawn ${credential.provider}`);
      });
    });
  }

  /** I2: on the issuer's clock, as far as clocks can be known. */
  #unexpired(agent: SimAgent, { credential, until }: Serving): void {
    const oracle = this.#oracle;
    const issuance = oracle.issuanceOf(credential);
    const { profile } = oracle.world.issuerOf(credential.provider);
    const unknown =
      1000 + (profile.dated ? 0 : Math.abs(profile.skew)) + issuance.way + oracle.clockBound;
    const over = agent.node.trueTime(until) - issuance.expiresAt;
    if (over > unknown) {
      oracle.violated(
        "I2",
        `${agent.node.name} would hand out ${credential.provider} for ${over} ms past its expiry, ${unknown} may be`,
      );
    }
  }

  /** I4: a runway at zero must have its excuse. */
  #ranOut(agent: SimAgent, { credential }: Serving): void {
    const oracle = this.#oracle;
    const { world } = oracle;
    const { scale, timing } = world.profile;
    const { now } = world.timeline;
    const name = credential.provider;
    const { leader } = world;
    if (leader === undefined || world.endedOnce || !leader.coordinator.digests.has(name)) return;
    const issuance = oracle.issuanceOf(credential);
    const { profile } = world.issuerOf(name);
    const start = Math.max(
      oracle.dueOf(issuance).latest,
      leader.since,
      agent.joinedAt,
      world.good.since(
        "nats",
        "clocks",
        `issuer:${name}`,
        `node:${agent.node.name}`,
        `node:${leader.coordinator.node.name}`,
      ),
    );
    const left = now - start;
    if (left < 0 || oracle.callsWithin(name, 600_000) >= 39) return;
    const grace = Math.min(timing.watchdogGrace, left / 4);
    const need = left / 3 + 2 * profile.callTimeout + 45_000 * scale + grace + 3000;
    const margin = Math.abs(profile.skew) + oracle.clockBound;
    if (left - margin > need) {
      oracle.violated(
        "I4",
        `${agent.node.name} ran out of ${name} though all was well for ${left} ms`,
      );
    }
  }

  /** It can be reached again: it beats soon, and what it has missed is the answer. */
  onBack(agent: SimAgent): void {
    const { world } = this.#oracle;
    const { timeline, nats, profile } = world;
    const stored = nats.peek("bundle") as Uint8Array | undefined;
    const { epoch } = agent.node;
    if (stored === undefined || !(agent.joinedAt < timeline.now)) return;
    const { bundle } = world.seals.lookUp(stored);
    const at = timeline.now;
    // Who does not know that it was gone has no reason to beat before its time.
    const beat = nats.knowsOfLoss(agent.node) ? 0 : profile.timing.beat;
    timeline.after((1 + 5 + 4) * 1000 * profile.scale + 300 + beat, () => {
      const { leader } = world;
      if (leader === undefined || leader.since > at || agent.node.epoch !== epoch) return;
      const scopes = ["nats", `node:${agent.node.name}`, `node:${leader.coordinator.node.name}`];
      if (world.good.since(...scopes) > at) return;
      if (agent.ended || this.#oracle.wiped || this.#oracle.jumped > 0) return;
      if (bundle.expiresAt < world.faults.latestWall()) return;
      const held = this.#known.get(agent.instance)?.accepted ?? NOTHING;
      if (compareVersions(held, bundle) >= 0) return;
      this.#oracle.violated("I4", `${agent.node.name} is back and has not caught up`);
    });
  }

  onRotationDone(by: SimCoordinator, rotation: RotationStatus): void {
    const oracle = this.#oracle;
    const { world } = oracle;
    const { timing } = world.profile;
    const long = world.timeline.now - timing.lost - 2 * timing.beat;
    const state = world.nats.peek("state") as JobState | undefined;
    if (state === undefined || world.leader?.coordinator !== by) return;
    // An agent whose idea of the time comes from a mad clock may hold a fresh credential for over.
    if (oracle.jumped > 0) return;
    for (const agent of world.agents) {
      if (agent.ended || agent.joinedAt > long) continue;
      if (world.good.since("nats", `node:${agent.node.name}`, `node:${by.node.name}`) > long)
        continue;
      if (rotation.missing.includes(agent.name)) continue;
      for (const provider of rotation.providers) {
        const last = this.#applied.get(`${agent.instance}/probe/${provider}`);
        if (last !== undefined && last.generation >= rotation.generation) continue;
        oracle.violated(
          "I7",
          `rotation ${rotation.id} is done, but ${agent.node.name} serves generation ${last?.generation ?? 0} of ${provider}, not ${rotation.generation}`,
        );
      }
    }
  }
}
