/** A whole job in one thread: its nodes, its servers, what goes between them, and who judges it. */

import type { Admission, RegisterDecision } from "../../src/coordinator/ports/agent-link.ts";
import { EvergrantError } from "../../src/protocol/errors.ts";
import type { Ticket } from "../../src/protocol/join.ts";
import type { Notice } from "../../src/protocol/notice.ts";
import { type Done, failure, success } from "../../src/protocol/outcome.ts";
import type { RegisterAnswer } from "../../src/protocol/register.ts";
import type { Report } from "../../src/protocol/report.ts";
import type { RegisterRequest } from "../../src/worker-agent/ports/coordinator-link.ts";
import { VirtualRedis } from "../support/virtual-queue.ts";
import { Chance } from "./chance.ts";
import { Faults } from "./faults.ts";
import { Forger } from "./forger.ts";
import { GoodTimes } from "./good-times.ts";
import { JoseSeals } from "./jose-seals.ts";
import { KeyRotation } from "./key-rotation.ts";
import { Operator } from "./operator.ts";
import { Oracle } from "./oracle.ts";
import { type Profile, profileOf } from "./profile.ts";
import { type CoordinatorSeals, type Seals, TableSeals } from "./seals.ts";
import { SimAgent } from "./sim-agent.ts";
import { JOB, SimCoordinator } from "./sim-coordinator.ts";
import { MARK, SimIssuer } from "./sim-issuer.ts";
import { SimNats } from "./sim-nats.ts";
import { EPOCH, SimNode } from "./sim-node.ts";
import { type Standstill, Timeline } from "./timeline.ts";

/** The world carries reports from agent to coordinator by itself. */
const MAC_KEY = "A".repeat(43);

export class World {
  readonly timeline = new Timeline();
  readonly chance: Chance;
  readonly profile: Profile;
  readonly good: GoodTimes;
  readonly nats: SimNats;
  readonly redis = new VirtualRedis();
  readonly seals: Seals;
  readonly coordinators: SimCoordinator[] = [];
  readonly agents: SimAgent[] = [];
  readonly oracle: Oracle;
  readonly operator: Operator;
  readonly faults: Faults;
  /** What coordinators that start now are configured with: provider to digest. */
  readonly config = new Map<string, string>();
  sealsFail = false;
  endedOnce = false;
  /** No more faults: what went down comes back. */
  healed = false;
  leader: { readonly coordinator: SimCoordinator; readonly since: number } | undefined;
  readonly lines: string[] = [];
  readonly #tracing: boolean;
  readonly #issuers = new Map<string, SimIssuer>();
  readonly #tickets = new Map<string, Ticket>();
  readonly #registers = new Map<
    number,
    { readonly agent: SimAgent; readonly nonce: string; readonly done: Done<RegisterAnswer> }
  >();
  #requests = 0;

  constructor(seed: number, tracing: boolean) {
    this.chance = new Chance(seed);
    this.#tracing = tracing;
    this.profile = profileOf(seed, this.chance);
    const { profile, timeline, chance } = this;
    this.seals = profile.sealing === "jose" ? new JoseSeals(this, seed) : new TableSeals();
    this.good = new GoodTimes(timeline);
    this.nats = new SimNats(timeline, chance, profile.scale);
    this.oracle = new Oracle(this);
    this.operator = new Operator(this);
    this.faults = new Faults(this);
    this.nats.onWritten = (key, value, by) => {
      this.trace("nats", `${key} written by ${by.name}`, key === "bundle" ? {} : value);
      this.oracle.onWritten(key, value, by);
      if (key === "bundle") this.#broadcast(value as Uint8Array);
    };
    for (const provider of profile.providers) {
      const issuer = new SimIssuer(provider, timeline, chance);
      issuer.onCall = (call) => {
        this.trace("issuer", `${provider.name} is called by ${call.node.name}`, {});
        this.oracle.onCall(call);
      };
      this.#issuers.set(provider.name, issuer);
      this.config.set(provider.name, `${provider.name}-config-1`);
    }
    const node = (name: string): SimNode => {
      const made = new SimNode(name, timeline, chance);
      made.wallOffset = Math.round(chance.between(-1, 1) * profile.wallSpread);
      this.good.begin(`node:${name}`);
      return made;
    };
    for (let i = 1; i <= profile.coordinators; i += 1) {
      this.coordinators.push(new SimCoordinator(this, node(`c${i}`)));
    }
    const twins = profile.faults.includes("twin") && profile.agents > 1;
    for (let i = 1; i <= profile.agents; i += 1) {
      const name = twins && i === 2 ? "a1" : `a${i}`;
      this.agents.push(new SimAgent(this, node(`a${i}`), name, profile.persistentAgents));
    }
  }

  /** Lives through the troubled time and the settling. Whether all was well, the oracle knows. */
  *run(): Standstill {
    const { timeline, chance, profile, oracle } = this;
    const stop = (): boolean => oracle.violation !== undefined;
    for (const coordinator of this.coordinators) {
      timeline.after(chance.unit() * 3000 * profile.scale, () => coordinator.start());
    }
    for (const agent of this.agents) {
      const late = profile.faults.includes("late-agent") && chance.happens(0.5);
      timeline.after(chance.unit() * (late ? profile.troubled : 3000 * profile.scale), () =>
        agent.start(),
      );
    }
    this.faults.begin();
    if (this.seals instanceof JoseSeals) {
      new Forger(this, this.seals).begin();
      new KeyRotation(this, this.seals).begin();
    }
    yield* timeline.runUntil(profile.troubled, stop);
    if (stop()) return;
    this.faults.healAll();
    yield* timeline.runUntil(timeline.now + profile.settle, stop);
    if (stop()) return;
    yield* oracle.atRest(() => timeline.runUntil(timeline.now + 2 * profile.timing.beat, stop));
    if (stop() || !profile.endsJob) return;
    this.faults.endJob();
    yield* timeline.runUntil(timeline.now + 12_000 + 4 * profile.timing.leaseTtl, stop);
    if (!stop()) oracle.atEnd();
  }

  issuerOf(provider: string): SimIssuer {
    const issuer = this.#issuers.get(provider);
    if (issuer === undefined) throw new RangeError(`no issuer ${provider}`);
    return issuer;
  }

  get issuers(): ReadonlyMap<string, SimIssuer> {
    return this.#issuers;
  }

  trace(who: string, what: string, facts: unknown): void {
    if (!this.#tracing) return;
    const text = JSON.stringify(facts, (_key, value) =>
      value instanceof Uint8Array ? this.seals.label(value) : value,
    );
    this.lines.push(
      `${this.timeline.now.toFixed(1).padStart(10)}  ${who.padEnd(8)} ${what} ${text}`,
    );
  }

  /** I9: looks for secrets in what leaves a process. */
  scan(where: string, what: unknown): void {
    if (JSON.stringify(what).includes(MARK)) this.oracle.violated("I9", `a secret in a ${where}`);
  }

  /** Keeps note of who leads, and since when. Called whenever that may have changed. */
  leading(changed: SimCoordinator): void {
    const { leader } = this;
    if (changed.leads === (leader?.coordinator === changed)) return;
    // After the loss of a store there may be two for a while: the higher term counts.
    const [first] = this.coordinators.filter((c) => c.leads).sort((a, b) => b.term - a.term);
    if (first === leader?.coordinator) return;
    this.leader =
      first === undefined ? undefined : { coordinator: first, since: this.timeline.now };
    this.trace(first?.node.name ?? "nobody", "LEADS", {});
  }

  restartLater(node: SimCoordinator | SimAgent): void {
    const { leaseTtl } = this.profile.timing;
    const wait = this.healed
      ? this.chance.unit() * 1000 * this.profile.scale
      : this.chance.unit() * leaseTtl * this.chance.pick([0.05, 0.5, 3]);
    this.timeline.after(wait, () => node.start());
  }

  // What goes over NATS.

  #broadcast(sealed: Uint8Array): void {
    for (const agent of this.agents) {
      this.nats.toNode(agent.node, () => agent.emitLink?.({ kind: "bundle", sealed }));
    }
  }

  push(names: readonly string[], sealed: Uint8Array): void {
    for (const agent of this.agents) {
      if (!names.includes(agent.name)) continue;
      this.nats.toNode(agent.node, () => agent.emitLink?.({ kind: "bundle", sealed }));
    }
  }

  notify(notice: Notice, signer: string): void {
    for (const agent of this.agents) {
      this.nats.toNode(agent.node, () =>
        agent.emitLink?.(
          agent.seals?.trusts(signer) === true
            ? { kind: "notice", notice }
            : { kind: "refused", code: "KEY_UNKNOWN" },
        ),
      );
    }
  }

  report(agent: SimAgent, report: Report): void {
    this.nats.toServer(agent.node, () => {
      for (const { node, emitLink } of this.coordinators) {
        this.nats.toNode(node, () => emitLink?.({ kind: "report", report }));
      }
    });
  }

  /** @param sealedTo the registration key: a coordinator without it can make nothing of the request. */
  register(
    agent: SimAgent,
    request: RegisterRequest,
    sealedTo: string,
    done: Done<RegisterAnswer>,
  ): void {
    const { node } = agent;
    let open = true;
    const end: Done<RegisterAnswer> = (outcome) => {
      if (!open) return;
      open = false;
      done(outcome);
    };
    this.#requests += 1;
    const nonce = `nonce-${this.#requests}`;
    const key = { kid: agent.key, jwk: { kty: "OKP", crv: "Ed25519", x: agent.key } } as const;
    const ticket = request.ticket === undefined ? undefined : this.#tickets.get(request.ticket);
    const admission: Admission =
      ticket !== undefined
        ? { kind: "ticket", ticket }
        : {
            kind: "token",
            token: {
              ...JOB,
              id: "token-of-the-job",
              notAfterMs: EPOCH + 365 * 86_400_000,
              maxAgents: 1_000_000,
            },
          };
    const body = {
      v: 1 as const,
      ...JOB,
      agent: agent.name,
      instance: agent.instance,
      nonce,
      key,
      receivers: request.receivers.map((r) => ({ ...r })),
      highest: request.highest,
    };
    this.nats.toServer(node, () => {
      for (const coordinator of this.coordinators) {
        this.#requests += 1;
        const id = this.#requests;
        this.#registers.set(id, { agent, nonce, done: end });
        this.nats.toNode(coordinator.node, () => {
          if (coordinator.seals?.opens(sealedTo) !== true) return;
          coordinator.emitLink?.({ kind: "register", request: id, body, admission });
        });
      }
    });
    node.after(5000 * this.profile.scale, () =>
      end(failure(new EvergrantError("NO_COORDINATOR", "nobody answers"))),
    );
  }

  answerRegister(
    by: SimNode,
    seals: CoordinatorSeals,
    request: number,
    decision: RegisterDecision,
  ): void {
    const asked = this.#registers.get(request);
    if (asked === undefined) return;
    this.#registers.delete(request);
    const { agent, nonce, done } = asked;
    const { timeMs } = decision;
    let answer: RegisterAnswer;
    if (decision.accepted) {
      const ticket = `ticket-${agent.name}-${agent.key}`;
      this.#tickets.set(ticket, {
        ...JOB,
        agent: agent.name,
        key: { kid: agent.key, jwk: { kty: "OKP", crv: "Ed25519", x: agent.key } },
        tokenId: "token-of-the-job",
        issuedAtMs: timeMs,
      });
      answer = {
        accepted: true,
        body: {
          v: 1,
          nonce,
          term: decision.term,
          generation: decision.generation,
          timeMs,
          groupKeys: seals.groupKeys(decision.groupKids),
          ...(seals.jobKeys === undefined ? {} : { jobKeys: seals.jobKeys }),
          macKey: MAC_KEY,
          ticket,
          beatMs: decision.beatMs,
        },
        ...(decision.bundle === undefined ? {} : { bundle: decision.bundle }),
      };
    } else answer = { accepted: false, code: decision.code, timeMs };
    const { node } = agent;
    const { epoch } = node;
    this.nats.toServer(by, () =>
      this.nats.toNode(node, () => {
        if (node.epoch === epoch) done(success(answer));
      }),
    );
  }
}
