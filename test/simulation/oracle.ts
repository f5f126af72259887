/**
 * Who judges the world. It keeps its own book of what has truly happened and compares; of the code
 * under test it asks nothing but who leads. Each check names the invariant of the design that it
 * keeps watch over.
 */

import type { JobState } from "../../src/coordinator/core/job-state.ts";
import type { LeaseRecord } from "../../src/coordinator/core/lease-record.ts";
import type { AuditEvent } from "../../src/protocol/audit.ts";
import type { Bundle } from "../../src/protocol/bundle.ts";
import type { RotationStatus } from "../../src/protocol/control.ts";
import type { Credential } from "../../src/protocol/credential.ts";
import type { Version } from "../../src/protocol/names.ts";
import type { Serving } from "../../src/worker-agent/ports/credential-receiver.ts";
import { AgentOracle } from "./agent-oracle.ts";
import { atEnd, notAtRest } from "./at-rest.ts";
import { IssuerOracle } from "./issuer-oracle.ts";
import type { SimAgent } from "./sim-agent.ts";
import type { SimCoordinator } from "./sim-coordinator.ts";
import type { Issuance, SimCall } from "./sim-issuer.ts";
import type { SimNode } from "./sim-node.ts";
import type { Standstill } from "./timeline.ts";
import type { World } from "./world.ts";

export interface Violation {
  readonly invariant: string;
  readonly text: string;
  readonly at: number;
}

/** For these a holder puts its lease down whoever has it: its time is over, or it can't have the term that it needs. */
const OWN_REASONS = ["the lease could not be renewed in time", "a higher term could not be taken"];

export class Oracle {
  violation: Violation | undefined;
  /** The stores have been lost at least once. */
  wiped = false;
  #wipes: number[] = [];
  /** By how much the wall clocks that coordinators start with have jumped in all. */
  jumped = 0;
  readonly world: World;
  readonly #agents: AgentOracle;
  readonly #issuers: IssuerOracle;
  readonly #holderOfTerm = new Map<number, string>();
  readonly #contents = new Map<string, string>();
  /** When the last lease write that was applied had been sent, by node. */
  readonly #leaseSent = new Map<string, number>();
  /** Whose lease write was applied last, whatever the store has lost since. */
  #leaseBy: string | undefined;
  readonly #sending = new Map<string, { record: LeaseRecord; at: number }[]>();
  #state: JobState | undefined;
  #events = 0;

  constructor(world: World) {
    this.world = world;
    this.#agents = new AgentOracle(this);
    this.#issuers = new IssuerOracle(this);
    this.#watchPace();
  }

  violated(invariant: string, text: string): void {
    if (this.violation !== undefined) return;
    const at = this.world.timeline.now;
    this.violation = { invariant, text, at };
    this.world.trace("ORACLE", `${invariant} VIOLATED: ${text}`, {});
  }

  onWiped(): void {
    this.wiped = true;
    this.#wipes.push(this.world.timeline.now);
    this.#state = undefined;
  }

  onClockJumped(node: SimNode, by: number): void {
    // A process that runs never looks at the wall again: only one that starts with it can be wrong.
    const coordinator = this.world.coordinators.some((c) => c.node === node);
    if (coordinator && this.world.profile.insaneClocks) this.jumped += Math.abs(by);
  }

  /** How far apart clocks may truly be, all faults counted in. */
  get clockBound(): number {
    return 2 * this.world.profile.wallSpread + this.jumped;
  }

  // What a coordinator sets about, at the moment when it decides to.

  onLeaseSent(by: SimCoordinator, record: LeaseRecord): void {
    const sending = this.#sending.get(by.node.name) ?? [];
    sending.push({ record, at: this.world.timeline.now });
    if (sending.length > 8) sending.shift();
    this.#sending.set(by.node.name, sending);
  }

  /** I5: a holder stops acting a margin before its lease could be taken. */
  onActs(by: SimCoordinator, doing: string, span = 0): void {
    const { leaseTtl, leaseMargin } = this.world.profile.timing;
    const sent = this.#leaseSent.get(by.node.name);
    const { now } = this.world.timeline;
    if (sent === undefined || now + span > sent + leaseTtl - leaseMargin + 1) {
      this.violated(
        "I5",
        `${by.node.name} sets about ${doing} (${span} ms) with a lease of ${now - (sent ?? 0)} ms ago`,
      );
    }
  }

  onAsk(by: SimCoordinator, provider: string, timeout: number): void {
    this.onActs(by, `a call for ${provider}`, timeout);
    this.#issuers.onAsk(by, provider);
  }

  onCall(call: SimCall): void {
    this.#issuers.onCall(call);
  }

  onAudit(by: SimCoordinator, event: AuditEvent): void {
    if (event.event === "obtain-started") this.#issuers.onReason(by, event);
    if (event.event === "coordinator-stops" && event.text !== undefined)
      this.#onPutDown(by, event.text);
  }

  /** A store that is lost is rewritten by who leads: it makes no room for another before its time is over. */
  #onPutDown(by: SimCoordinator, why: string): void {
    if (OWN_REASONS.includes(why) || this.#leaseBy !== by.holder) return;
    this.violated("LEASE", `${by.node.name} puts down what nobody else has taken: ${why}`);
  }

  onRotateAsked(provider: string): void {
    this.#issuers.asked(provider, "forced");
  }

  onDemand(provider: string): void {
    this.#issuers.asked(provider, "demand");
  }

  // What was stored.

  onWritten(key: string, value: unknown, by: SimNode): void {
    if (key === "lease") this.#onLease(value as LeaseRecord, by);
    else if (key === "state") this.#onState(value as JobState);
    else this.#onBundle(value as Uint8Array);
  }

  #onLease(record: LeaseRecord, by: SimNode): void {
    const sent = this.#sending.get(by.name)?.findLast((s) => s.record === record);
    this.#leaseBy = record.holder;
    if (record.state === "held") this.#leaseSent.set(by.name, sent?.at ?? 0);
    else this.#leaseSent.delete(by.name);
    if (record.state === "ended") this.#issuers.endedAt ??= this.world.timeline.now;
  }

  #onState(state: JobState): void {
    const before = this.#state;
    this.#state = state;
    if (before !== undefined) {
      const back = state.term < before.term || state.generation < before.generation;
      if (back && !this.lostAnew())
        this.violated("I5", `the state went back: ${before.term} to ${state.term}`);
    }
    this.#issuers.onState(state, before);
  }

  onPushed(agents: readonly string[]): void {
    this.#agents.onPushed(agents);
  }

  onSealed(bundle: Bundle): void {
    this.#agents.onSealed(bundle);
  }

  #onBundle(sealed: Uint8Array): void {
    const { bundle, by } = this.world.seals.lookUp(sealed);
    const { term, generation } = bundle;
    const holder = this.#holderOfTerm.get(term);
    this.#holderOfTerm.set(term, by);
    // As long as the stores survive, or clocks are sane.
    const excused = this.wiped && (this.jumped > 0 || this.lostAnew());
    if (holder !== undefined && holder !== by && !excused) {
      this.violated("I5", `${holder} and ${by} have both published under term ${term}`);
    }
    const content = JSON.stringify(bundle.credentials.map((c) => this.markOf(c)));
    const version = `${by} ${term}.${generation}`;
    const known = this.#contents.get(version);
    this.#contents.set(version, content);
    if (known !== undefined && known !== content) {
      this.violated("I1", `two contents under ${version}`);
    }
    this.#agents.onPublished(bundle);
  }

  /** Lost again before the first loss was over: two that know nothing of each other, in one second. */
  lostAnew(): boolean {
    const long = this.world.timeline.now - 3 * this.world.profile.timing.leaseTtl;
    // Whoever has lost what was known of terms begins at the second: one of a moment ago may be above it.
    const lately = this.#wipes.some((at) => at > this.world.timeline.now - 3000);
    return lately || this.#wipes.filter((at) => at > long).length > 1;
  }

  // Agents.

  onAgentStarts(agent: SimAgent): void {
    this.#agents.onStarts(agent);
  }

  onAccepted(agent: SimAgent, version: Version): void {
    this.#agents.onAccepted(agent, version);
  }

  onApplied(agent: SimAgent, receiver: string, serving: Serving): void {
    this.#agents.onApplied(agent, receiver, serving);
  }

  onReconnectable(agent: SimAgent): void {
    this.#agents.onBack(agent);
  }

  onDiskFailed(agent: SimAgent): void {
    this.#agents.floorless(agent);
  }

  onFolderLost(agent: SimAgent): void {
    this.#agents.floorless(agent);
  }

  /** I7: a rotation is done when every live agent has applied it, or is named. */
  onRotationDone(by: SimCoordinator, rotation: RotationStatus): void {
    this.#agents.onRotationDone(by, rotation);
  }

  // The book.

  markOf(credential: Credential): string {
    return String(credential.material.reveal()["secretAccessKey"]);
  }

  /** What its issuer knows of a credential: the issuance whose stated end is the nearest. */
  issuanceOf(credential: Credential): Issuance {
    const mark = this.markOf(credential);
    let nearest: Issuance | undefined;
    for (const issuance of this.world.issuerOf(credential.provider).issued) {
      if (issuance.mark !== mark) continue;
      const distance = Math.abs(issuance.statedExpiry - credential.expiresAt);
      if (
        nearest === undefined ||
        distance < Math.abs(nearest.statedExpiry - credential.expiresAt)
      ) {
        nearest = issuance;
      }
    }
    if (nearest === undefined) throw new RangeError(`nobody has issued ${mark}`);
    return nearest;
  }

  /** When it is to be renewed at the earliest and at the latest, jitter aside. True times. */
  dueOf(issuance: Issuance): { readonly earliest: number; readonly latest: number } {
    const { minRemaining, assumedLifetime, skew, dated } = this.world.issuerOf(
      issuance.provider,
    ).profile;
    const life = assumedLifetime ?? issuance.expiresAt - issuance.issuedAt;
    // Where the life is about twice that, what the clocks say decides.
    const vague = Math.abs(skew) + 2000 + this.world.profile.wallSpread;
    const after = (floor: boolean): number =>
      floor ? Math.min(0.75 * life, life - minRemaining) : 0.75 * life;
    return {
      earliest: issuance.issuedAt + after(life >= 2 * minRemaining - vague) - vague,
      latest:
        issuance.issuedAt +
        after(minRemaining > 0 && life >= 2 * (minRemaining + vague)) +
        (dated ? 0 : Math.abs(skew)),
    };
  }

  callsWithin(provider: string, ms: number): number {
    const since = this.world.timeline.now - ms;
    return this.world.issuerOf(provider).calls.filter((call) => call.startedAt >= since).length;
  }

  /** Nobody may be busier than a machine with something to do: a storm is a defect. */
  #watchPace(): void {
    const { timeline } = this.world;
    const span = 10_000;
    timeline.after(span, () => {
      const happened = timeline.count - this.#events;
      this.#events = timeline.count;
      const { coordinators, agents, profile } = this.world;
      const most = ((coordinators.length * 60 + agents.length * 40) * span) / 1000 / profile.scale;
      if (happened > most) this.violated("STORM", `${happened} happenings in ${span} ms`);
      this.#watchPace();
    });
  }

  /** After the troubles: one leader, everything fresh, everybody up to date. */
  *atRest(wait: () => Standstill): Standstill {
    let wrong: string | undefined;
    for (let tries = 0; tries < 8; tries += 1) {
      if (this.violation !== undefined) return;
      wrong = notAtRest(this.world, this);
      if (wrong === undefined) break;
      yield* wait();
    }
    if (wrong !== undefined) this.violated("REST", wrong);
    else this.#issuers.atRest();
  }

  atEnd(): void {
    const wrong = atEnd(this.world);
    if (wrong !== undefined) this.violated("END", wrong);
  }
}
