/** What goes wrong, and when: drawn from the seed, each fault with its end. Afterwards all heals. */
import type { Fault } from "./profile.ts";
import type { SimAgent } from "./sim-agent.ts";
import type { SimCoordinator } from "./sim-coordinator.ts";
import { MOODS } from "./sim-issuer.ts";
import { CALM } from "./sim-nats.ts";
import { EPOCH, type SimNode } from "./sim-node.ts";
import type { World } from "./world.ts";

export class Faults {
  readonly #world: World;
  /** What ends the faults that go on now. */
  readonly #open = new Set<() => void>();
  readonly met = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
  }

  begin(): void {
    if (this.#world.profile.faults.length > 0) this.#next();
  }

  #next(): void {
    const { timeline, chance, profile } = this.#world;
    const wait = -Math.log(1 - chance.unit()) * profile.every;
    timeline.after(wait, () => {
      if (this.#world.healed) return;
      this.#strike(chance.pick(profile.faults));
      this.#next();
    });
  }

  /** Every trouble ends, and everybody who is down starts again. */
  healAll(): void {
    const world = this.#world;
    world.healed = true;
    world.trace("world", "heals", {});
    for (const end of [...this.#open]) end();
    for (const { node } of [...world.coordinators, ...world.agents]) node.doom = undefined;
    for (const node of [...world.coordinators, ...world.agents]) {
      if (!node.node.alive) world.restartLater(node);
    }
  }

  endJob(): void {
    const world = this.#world;
    world.trace("world", "ends the job", {});
    const leader = world.coordinators.find((c) => c.leads);
    // A coordinator with a mad clock takes every command for over.
    const byCommand = world.chance.happens(0.5) && world.oracle.jumped === 0;
    if (byCommand || leader?.driver === undefined) world.operator.end();
    else leader.driver.emit({ kind: "end" });
    world.endedOnce = true;
  }

  /** The latest that any wall clock shows. */
  latestWall(): number {
    const { coordinators, agents, timeline } = this.#world;
    const offsets = [...coordinators, ...agents].map(({ node }) => node.wallOffset);
    return EPOCH + timeline.now + Math.max(0, ...offsets);
  }

  /** Starts a trouble that ends by itself after `length`, or when the world heals. */
  #during(scopes: readonly string[], length: number, start: () => void, stop: () => void): void {
    const { timeline, good } = this.#world;
    for (const scope of scopes) good.begin(scope);
    start();
    const end = (): void => {
      if (!this.#open.delete(end)) return;
      stop();
      for (const scope of scopes) good.end(scope);
    };
    this.#open.add(end);
    timeline.after(length, end);
  }

  #anyone(): SimCoordinator | SimAgent {
    const { chance, coordinators, agents, leader } = this.#world;
    if (leader !== undefined && chance.happens(0.4)) return leader.coordinator;
    return chance.happens(0.5) ? chance.pick(coordinators) : chance.pick(agents);
  }

  /** Short, or about as long as a lease, or as long as a life. */
  #length(): number {
    const { chance, profile } = this.#world;
    const { leaseTtl } = profile.timing;
    const life = Math.min(...profile.providers.map((p) => p.lifetime));
    return chance.unit() * chance.pick([0.1 * leaseTtl, 2 * leaseTtl, 0.3 * life, 1.2 * life]);
  }

  #pause(node: SimNode, length: number): void {
    this.#during(
      [`node:${node.name}`],
      length,
      () => {
        node.pause();
        for (const c of this.#world.coordinators) if (c.node === node) this.#world.leading(c);
      },
      () => node.resume(),
    );
  }

  #strike(fault: Fault): void {
    const world = this.#world;
    const { chance, nats, redis, good, agents, coordinators, profile, timeline } = world;
    this.met.set(fault, (this.met.get(fault) ?? 0) + 1);
    world.trace("world", `FAULT ${fault}`, {});
    const length = this.#length();
    const agent = chance.pick(agents);
    const issuer = chance.pick([...world.issuers.values()]);
    switch (fault) {
      case "crash":
        this.#anyone().crash("by fault");
        return;
      case "crash-at-effect":
        this.#anyone().node.doom = { ios: chance.whole(1, 12), afterIt: chance.happens(0.5) };
        return;
      case "pause": {
        const { node } = this.#anyone();
        if (node.alive && !node.paused) this.#pause(node, length);
        return;
      }
      case "hand-over":
        chance.pick(coordinators).driver?.emit({ kind: "hand-over" });
        return;
      case "cut": {
        const { node } = this.#anyone();
        this.#during(
          [`node:${node.name}`],
          length,
          () => nats.cut(node),
          () => {
            nats.heal(node);
            const back = agents.find((one) => one.node === node);
            if (back !== undefined) timeline.after(0, () => world.oracle.onReconnectable(back));
          },
        );
        return;
      }
      case "weather":
        this.#during(
          ["nats"],
          length,
          () => {
            nats.weather = {
              loss: chance.pick([0, 0.05, 0.4]),
              doubling: chance.pick([0, 0.2]),
              latency: chance.pick([50, 1000, 5000]) * profile.scale,
            };
          },
          () => {
            nats.weather = { ...CALM };
          },
        );
        return;
      case "nats-down":
      case "nats-frozen":
        this.#during(
          ["nats"],
          length,
          () => (fault === "nats-down" ? nats.down() : nats.freeze()),
          () => nats.up(),
        );
        return;
      case "nats-wiped":
      case "both-wiped":
        world.oracle.onWiped();
        this.#during(
          ["nats"],
          chance.happens(0.5) ? 0 : length,
          () => {
            nats.down();
            nats.wipe();
            if (fault === "both-wiped") redis.wipe();
          },
          () => nats.up(),
        );
        return;
      case "redis-away": {
        // Or only the connection on which the worker waits has died, and plans go in as if all were well.
        const silent = chance.happens(0.3);
        this.#during(
          ["redis"],
          length,
          () => (silent ? redis.fallSilent() : redis.goAway()),
          () => (silent ? redis.speak() : redis.comeBack()),
        );
        return;
      }
      case "redis-wiped":
        good.blip("redis");
        redis.wipe();
        return;
      case "redis-doubled":
        redis.doubleNext(3);
        return;
      case "redis-unsure":
        good.blip("redis");
        redis.failNext(chance.pick(["applied", "not-applied"]));
        return;
      case "redis-early": {
        const planned = redis.planned();
        const coordinator = chance.pick(coordinators);
        if (planned.length === 0) return;
        const { due: _, ...attempt } = chance.pick(planned);
        coordinator.node.after(0, () => coordinator.driver?.emit({ kind: "due", attempt }));
        return;
      }
      case "issuer": {
        const mood = chance.pick(MOODS);
        world.trace("world", `${issuer.profile.name} is ${mood}`, {});
        this.#during(
          [`issuer:${issuer.profile.name}`],
          length,
          () => {
            issuer.mood = mood;
          },
          () => {
            issuer.mood = "well";
          },
        );
        return;
      }
      case "receiver":
        this.#during(
          [`node:${agent.node.name}`],
          length,
          () => {
            agent.receivers = chance.pick(["failing", "slow"]);
          },
          () => {
            agent.receivers = "well";
          },
        );
        return;
      case "disk":
        this.#during(
          [`node:${agent.node.name}`],
          length,
          () => {
            agent.diskFull = true;
          },
          () => {
            agent.diskFull = false;
          },
        );
        return;
      case "clock-jump": {
        const { node } = this.#anyone();
        const by = Math.round(chance.between(-1, 1) * chance.pick([5000, 60_000, 3_600_000]));
        node.wallOffset += by;
        good.blip("clocks");
        world.oracle.onClockJumped(node, by);
        world.trace(node.name, `wall clock jumps by ${by}`, {});
        return;
      }
      case "demand":
        for (const one of agents) {
          for (const { credential } of one.serving.values()) {
            if (!chance.happens(0.5)) continue;
            world.oracle.onDemand(credential.provider);
            const { driver } = one;
            one.node.after(0, () => driver?.demand(credential.provider, credential.generation));
          }
        }
        return;
      case "rotate":
        world.operator.rotate(issuer.profile.name);
        return;
      case "config-change":
        this.#changeConfig(issuer.profile.name);
        return;
      case "replay": {
        const sealed = world.seals.any(chance.unit());
        if (sealed === undefined) return;
        nats.toNode(agent.node, () =>
          agent.emitLink?.({
            kind: "bundle",
            sealed,
          }),
        );
        return;
      }
      case "agent-restart":
        if (chance.happens(0.5)) agent.leave();
        else agent.crash("to be restarted");
        if (chance.happens(0.3)) agent.forget();
        return;
      case "late-agent":
      case "twin":
        return;
    }
  }

  /** The driver of the job changes it, and restarts every coordinator. */
  #changeConfig(provider: string): void {
    const { chance, config, timeline } = this.#world;
    if (chance.happens(0.25) && config.size > 1) config.delete(provider);
    else if (config.has(provider)) config.set(provider, `${provider}-config-${timeline.now}`);
    this.restartAll();
  }

  /** Whoever runs the coordinators restarts them, one after the other. */
  restartAll(): void {
    const { chance, coordinators, timeline, profile } = this.#world;
    for (const coordinator of coordinators) {
      timeline.after(chance.unit() * profile.timing.beat, () => {
        if (chance.happens(0.5)) coordinator.driver?.emit({ kind: "hand-over" });
        else coordinator.crash("to be restarted");
      });
    }
  }
}
