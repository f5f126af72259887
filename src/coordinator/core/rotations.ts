/**
 * Rotations: what became of each generation, and of each request of an operator (I7: it ends with
 * every live agent applied, or named as missing).
 */
import type { Reason, RotationStatus } from "../../protocol/control.ts";
import { classOf, type EvergrantError } from "../../protocol/errors.ts";
import { compareVersions, type Version } from "../../protocol/names.ts";
import type { MonoMs } from "../../protocol/time.ts";
import { audit, log, plus, type Turn } from "./core.ts";
import { recordOf } from "./provider-run.ts";
import { type Agent, liveAgents } from "./roster.ts";

/** What happened with one generation. */
interface Delivery {
  readonly generation: number;
  readonly term: number;
  readonly parts: readonly {
    readonly provider: string;
    readonly reason: Reason;
    readonly calls: number;
  }[];
  published: MonoMs | undefined;
  lastAck: MonoMs | undefined;
  /** Live agents that had to apply it and have not: `name/instance`. */
  waiting: Set<string>;
  applied: number;
  readonly missing: Set<string>;
}

/** What an operator asked for. */
interface Request {
  readonly id: string;
  /** The generation of each provider when it was asked for: done means higher. */
  readonly since: ReadonlyMap<string, number>;
  readonly operator: string;
  error: EvergrantError | undefined;
  ended: boolean;
}

const KEPT = 50;

export class Rotations {
  readonly #deliveries: Delivery[] = [];
  readonly #requests = new Map<string, Request>();

  /** New credentials go into the next generation. */
  obtained(
    turn: Turn,
    parts: readonly { provider: string; reason: Reason; calls: number }[],
  ): void {
    const generation = turn.core.writer.truth?.generation ?? 0;
    this.#deliveries.push({
      generation,
      term: turn.core.leadership.term,
      parts,
      published: undefined,
      lastAck: undefined,
      waiting: new Set(),
      applied: 0,
      missing: new Set(),
    });
    if (this.#deliveries.length > KEPT) this.#deliveries.shift();
  }

  /** @param since when the write began that published it */
  published(turn: Turn, version: Version, since: MonoMs): void {
    const delivery = this.#deliveries.findLast((d) => d.generation === version.generation);
    if (delivery === undefined || delivery.published !== undefined) return;
    delivery.published = since;
    for (const agent of liveAgents(turn.core)) {
      const key = `${agent.agent}/${agent.instance}`;
      if (agent.applied >= delivery.generation) delivery.applied += 1;
      else delivery.waiting.add(key);
    }
    this.#settle(turn, delivery);
  }

  applied(turn: Turn, agent: string, generation: number): void {
    for (const delivery of this.#deliveries) {
      if (delivery.generation > generation) continue;
      if (delivery.published === undefined) {
        // Faster than the store's own answer: counted when that is in.
        delivery.lastAck = turn.now.mono;
        continue;
      }
      if (delivery.missing.size > 0) delivery.missing.delete(agent);
      if (delivery.waiting.size > 0 && delivery.waiting.delete(agent)) {
        delivery.applied += 1;
        delivery.lastAck = turn.now.mono;
        this.#settle(turn, delivery);
      } else if (delivery.generation === generation) {
        delivery.applied += 1; // It joined later and holds it now.
      }
    }
  }

  /** The agent was stopped: it misses nothing any more. */
  left(turn: Turn, agent: string): void {
    for (const delivery of this.#deliveries) {
      delivery.missing.delete(agent);
      if (delivery.waiting.delete(agent)) this.#settle(turn, delivery);
    }
  }

  /** The agent is lost or superseded: nobody waits for it any more. */
  gone(turn: Turn, agent: string): void {
    for (const delivery of this.#deliveries) {
      if (!delivery.waiting.delete(agent)) continue;
      delivery.missing.add(agent);
      this.#settle(turn, delivery);
    }
  }

  failed(turn: Turn, provider: string, error: EvergrantError): void {
    for (const request of this.#requests.values()) {
      if (request.ended || !request.since.has(provider)) continue;
      request.error = error;
      // Waiting mends a transient failure; a denial is the operator's to know now.
      if (classOf(error.code) !== "transient") this.#end(turn, request, "failed");
    }
  }

  request(turn: Turn, id: string, operator: string, providers: readonly string[]): void {
    const since = new Map(
      providers.map((name) => [
        name,
        recordOf(turn.core.writer.truth, name)?.credential?.generation ?? 0,
      ]),
    );
    this.#requests.set(id, { id, since, operator, error: undefined, ended: false });
    if (this.#requests.size > KEPT) {
      const [oldest] = this.#requests.keys();
      if (oldest !== undefined) this.#requests.delete(oldest);
    }
  }

  #settle(turn: Turn, delivery: Delivery): void {
    if (delivery.waiting.size > 0) return;
    log(turn, "info", "rotation applied", {
      generation: delivery.generation,
      applied: delivery.applied,
      missing: delivery.missing.size,
    });
  }

  #end(turn: Turn, request: Request, how: string): void {
    request.ended = true;
    audit(turn, "rotation-ended", { operator: request.operator, text: `${request.id} ${how}` });
  }

  /** As `status` shows them, the newest last. */
  all(): RotationStatus[] {
    return this.#deliveries.map((d) => this.#statusOf(d, `g${d.generation}`));
  }

  /** One request, or one generation by `g<generation>`; undefined when it is not known (any more). */
  find(turn: Turn, id: string): RotationStatus | undefined {
    const request = this.#requests.get(id);
    if (request !== undefined) return this.#requestStatus(turn, request);
    const delivery = this.#deliveries.findLast((d) => `g${d.generation}` === id);
    return delivery === undefined ? undefined : this.#statusOf(delivery, id);
  }

  #statusOf(d: Delivery, id: string): RotationStatus {
    const settled = d.published !== undefined && d.waiting.size === 0;
    return {
      id,
      providers: d.parts.map((part) => part.provider),
      reason: d.parts[0]?.reason ?? "scheduled",
      generation: d.generation,
      term: d.term,
      state: d.published === undefined ? "obtaining" : settled ? "done" : "delivering",
      issuerCalls: d.parts.reduce((sum, part) => sum + part.calls, 0),
      applied: d.applied,
      ...named([...d.waiting, ...d.missing]),
      ...(d.published === undefined || (!settled && d.lastAck === undefined)
        ? {}
        : { publishToLastAckMs: Math.max(0, (d.lastAck ?? d.published) - d.published) }),
    };
  }

  #requestStatus(turn: Turn, request: Request): RotationStatus {
    const { core, now } = turn;
    const generations = [...request.since].map(([name, since]) => {
      const generation = recordOf(core.writer.committed, name)?.credential?.generation ?? 0;
      return generation > since ? generation : 0;
    });
    const target = generations.includes(0) ? 0 : Math.max(0, ...generations);
    const base = {
      id: request.id,
      providers: [...request.since.keys()],
      reason: "forced" as const,
      generation: target,
      term: core.leadership.term,
      issuerCalls: 0,
      applied: 0,
      missing: [] as string[],
    };
    const error = request.error === undefined ? {} : { error: request.error.message };
    if (target === 0) {
      return { ...base, ...error, state: request.ended ? "failed" : "obtaining" };
    }
    const delivery = this.#deliveries.findLast((d) => d.generation === target);
    const { published } = core.publisher;
    const out =
      published !== undefined &&
      compareVersions(published, { term: core.leadership.term, generation: target }) >= 0;
    const behind = [...liveAgents(core)].filter((agent) => agent.applied < target).map(keyOf);
    // Right after a takeover the live agents are not all known yet: one interval for their reports.
    const settledAt = plus(core.leadership.leadingSince ?? now.mono, core.settings.timing.lost);
    const known = core.leadership.succeeded !== true || now.mono >= settledAt;
    const done = out && behind.length === 0 && known;
    if (done && !request.ended) this.#end(turn, request, "applied");
    const shown = delivery === undefined ? base : this.#statusOf(delivery, request.id);
    return {
      ...shown,
      id: request.id,
      providers: base.providers,
      reason: "forced",
      generation: target,
      state: done ? "done" : "delivering",
      ...named([...behind, ...(delivery?.missing ?? [])]),
    };
  }
}

/** As many as an operator reads: ten thousand names in each of fifty rotations fit into no message. */
const MOST_NAMED = 100;

/** The first of the agents' names, and how many names there are. */
function named(keys: Iterable<string>): Pick<RotationStatus, "missing" | "missingCount"> {
  const names = [...new Set([...keys].map(nameOf))];
  return { missing: names.slice(0, MOST_NAMED), missingCount: names.length };
}

const keyOf = ({ agent, instance }: Agent): string => `${agent}/${instance}`;
const nameOf = (key: string): string => key.slice(0, key.lastIndexOf("/"));
