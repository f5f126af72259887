/**
 * A simulated NATS: a server that is up, down or frozen, one connection per node that can be cut
 * without its knowing, messages that are lost, late, doubled and overtaken, and the three registers
 * with compare-and-set. Storing a bundle broadcasts it. It refuses to know what the messages mean.
 */
import type { CasRegister, Reading, Revision } from "../../src/coordinator/ports/cas-register.ts";
import { EvergrantError } from "../../src/protocol/errors.ts";
import { type Done, failure, type Outcome, success } from "../../src/protocol/outcome.ts";
import type { Chance } from "./chance.ts";
import type { SimNode } from "./sim-node.ts";
import type { Timeline } from "./timeline.ts";

export interface Weather {
  /** Of each message on each leg. */
  loss: number;
  doubling: number;
  /** The most that a message may take, in ms; usually it is far less. */
  latency: number;
}

export const CALM: Readonly<Weather> = { loss: 0, doubling: 0, latency: 5 };

interface Connection {
  cut: boolean;
  /** What the node believes. */
  up: boolean;
  /** The server that it was made to is gone: nothing passes before it is made anew, and its node is told. */
  stale: boolean;
  emit: ((event: { kind: "connected" | "disconnected" }) => void) | undefined;
}

interface Cell {
  readonly revision: number;
  readonly value: unknown;
}

export class SimNats {
  weather: Weather = { ...CALM };
  state: "up" | "down" | "frozen" = "up";
  #incarnation = 1;
  #cells = new Map<string, Cell>();
  #sequence = 0;
  #frozen: (() => void)[] = [];
  readonly #connections = new Map<SimNode, Connection>();
  readonly #timeline: Timeline;
  readonly #chance: Chance;
  /** How long a client waits for an answer. */
  readonly #requestTimeout: number;
  /** How long it takes at most to notice a dead connection, and to come back. */
  readonly #notice: number;
  /** Called at each applied write. */
  onWritten: (key: string, value: unknown, by: SimNode) => void = () => undefined;

  constructor(timeline: Timeline, chance: Chance, scale: number) {
    this.#timeline = timeline;
    this.#chance = chance;
    this.#requestTimeout = 2000 * scale;
    this.#notice = 4000 * scale;
  }

  /** A process connects; `emit` hears of the connection from then on. */
  connect(node: SimNode, emit: Connection["emit"]): void {
    const before = this.#connections.get(node);
    const connection: Connection = {
      cut: before?.cut ?? false,
      up: false,
      stale: false,
      emit,
    };
    this.#connections.set(node, connection);
    this.#reconnect(node);
  }

  isUp(node: SimNode): boolean {
    return this.#connections.get(node)?.up ?? false;
  }

  /** Whether messages pass now. */
  reachable(node: SimNode): boolean {
    const connection = this.#connections.get(node);
    return this.state === "up" && connection?.cut !== true && connection?.stale !== true;
  }

  /** Whether the node has noticed that its connection is gone, and so will make another. */
  knowsOfLoss(node: SimNode): boolean {
    return this.#connections.get(node)?.up === false;
  }

  cut(node: SimNode): void {
    const connection = this.#connections.get(node);
    if (connection === undefined || connection.cut) return;
    connection.cut = true;
    this.#noticeLoss(node);
  }

  heal(node: SimNode): void {
    const connection = this.#connections.get(node);
    if (connection?.cut !== true) return;
    connection.cut = false;
    this.#reconnect(node);
  }

  down(): void {
    this.state = "down";
    this.#frozen = [];
    for (const node of this.#connections.keys()) this.#noticeLoss(node);
  }

  /** It accepts and does not answer; what arrives is done when it thaws. */
  freeze(): void {
    if (this.state === "up") this.state = "frozen";
  }

  up(): void {
    this.state = "up";
    for (const act of this.#frozen.splice(0)) act();
    for (const [node, connection] of this.#connections) {
      if (connection.stale) this.#noticeReset(node, connection);
      this.#reconnect(node);
    }
  }

  /** All that was stored is gone: another server comes up, to which no connection was ever made. */
  wipe(): void {
    this.#cells.clear();
    this.#sequence = 0;
    this.#incarnation += 1;
    for (const connection of this.#connections.values()) connection.stale = true;
  }

  /** What is stored now. For the oracle. */
  peek(key: string): unknown {
    return this.#cells.get(key)?.value;
  }

  /** A message from a node to the server. */
  toServer(node: SimNode, act: () => void): void {
    if (!this.#passes(node)) return;
    const arrive = (): void => {
      if (this.state === "frozen") this.#frozen.push(act);
      else if (this.reachable(node)) act();
    };
    this.#timeline.after(this.#latency(), arrive);
    if (this.#chance.happens(this.weather.doubling)) {
      this.#timeline.after(this.#latency(), arrive);
    }
  }

  /** A message from the server into a process. */
  toNode(node: SimNode, act: () => void): void {
    if (!this.#passes(node)) return;
    const { epoch } = node;
    const arrive = (): void => {
      if (this.reachable(node)) node.deliver(epoch, act);
    };
    this.#timeline.after(this.#latency(), arrive);
    if (this.#chance.happens(this.weather.doubling)) {
      this.#timeline.after(this.#latency(), arrive);
    }
  }

  /** One request with one answer. `done` is called once, at the latest when the time is over. */
  request<T>(node: SimNode, serve: () => Outcome<T>, done: Done<T>): void {
    let open = true;
    const end = (outcome: Outcome<T>): void => {
      if (!open) return;
      open = false;
      done(outcome);
    };
    node.io(() => {
      let served = false;
      this.toServer(node, () => {
        if (served) return; // The server drops a doubled message by its id.
        served = true;
        const outcome = serve();
        this.toNode(node, () => end(outcome));
      });
      node.after(this.#requestTimeout, () =>
        end(failure(new EvergrantError("STORE_UNAVAILABLE", "no answer in time"))),
      );
    });
  }

  register<T>(key: string, node: SimNode): CasRegister<T> {
    return {
      read: (done) => this.request(node, () => success(this.#read<T>(key)), done),
      write: (expected, value, done) =>
        this.request(node, () => this.#write(key, expected, value, node), done),
      remove: (done) =>
        this.request(
          node,
          () => {
            this.#cells.delete(key);
            this.#sequence += 1;
            return success(undefined);
          },
          done,
        ),
    };
  }

  #read<T>(key: string): Reading<T> {
    return {
      entry: this.#cells.get(key) as Reading<T>["entry"],
      incarnation: `i${this.#incarnation}`,
    };
  }

  #write(
    key: string,
    expected: Revision | undefined,
    value: unknown,
    by: SimNode,
  ): Outcome<Revision> {
    if (this.#cells.get(key)?.revision !== expected) {
      return failure(new EvergrantError("STORE_CONFLICT", `${key} has another revision`));
    }
    this.#sequence += 1;
    this.#cells.set(key, { revision: this.#sequence, value });
    this.onWritten(key, value, by);
    return success(this.#sequence);
  }

  #passes(node: SimNode): boolean {
    const connection = this.#connections.get(node);
    if (connection?.cut === true || connection?.stale === true || this.state === "down")
      return false;
    return !this.#chance.happens(this.weather.loss);
  }

  #latency(): number {
    const { latency } = this.weather;
    // Mostly quick; one in ten takes its time, and is overtaken.
    return this.#chance.happens(0.1)
      ? this.#chance.unit() * latency
      : (this.#chance.unit() * Math.min(latency, 5)) / 2;
  }

  #noticeLoss(node: SimNode): void {
    const connection = this.#connections.get(node);
    const { epoch } = node;
    this.#timeline.after(this.#chance.unit() * this.#notice, () =>
      node.deliver(epoch, () => {
        if (connection?.up !== true || this.#connections.get(node) !== connection) return;
        if (!connection.cut && !connection.stale && this.state !== "down") return;
        connection.up = false;
        connection.emit?.({ kind: "disconnected" });
      }),
    );
  }

  /** A server that is another one resets what it does not know. */
  #noticeReset(node: SimNode, connection: Connection): void {
    const { epoch } = node;
    this.#timeline.after(0, () =>
      node.deliver(epoch, () => {
        if (!connection.up || !connection.stale || this.#connections.get(node) !== connection)
          return;
        connection.up = false;
        connection.emit?.({ kind: "disconnected" });
      }),
    );
  }

  #reconnect(node: SimNode): void {
    const connection = this.#connections.get(node);
    const { epoch } = node;
    this.#timeline.after(this.#chance.unit() * this.#notice * 0.25, () =>
      node.deliver(epoch, () => {
        if (connection === undefined || this.#connections.get(node) !== connection) return;
        if (connection.up || connection.cut || this.state === "down") return;
        connection.up = true;
        connection.stale = false;
        connection.emit?.({ kind: "connected" });
      }),
    );
  }
}
