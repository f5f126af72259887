/** One coordinator: the real core under the real driver, on the simulated ports of one machine. */
import type { JobState } from "../../src/coordinator/core/job-state.ts";
import type { LeaseRecord } from "../../src/coordinator/core/lease-record.ts";
import type { CoreSettings, ProviderSettings } from "../../src/coordinator/core/settings.ts";
import type { LinkEvent } from "../../src/coordinator/ports/agent-link.ts";
import type { CasRegister } from "../../src/coordinator/ports/cas-register.ts";
import type { Issuer } from "../../src/coordinator/ports/issuer.ts";
import type { RenewalQueue } from "../../src/coordinator/ports/renewal-queue.ts";
import { type Driver, startDriver } from "../../src/coordinator/runtime/driver.ts";
import { EvergrantError } from "../../src/protocol/errors.ts";
import { failure, success } from "../../src/protocol/outcome.ts";
import { durationMs } from "../../src/protocol/time.ts";
import type { VirtualQueue } from "../support/virtual-queue.ts";
import type { CoordinatorSeals } from "./seals.ts";
import type { SimNode } from "./sim-node.ts";
import type { World } from "./world.ts";

/** By a coordinator that does not lead as well. */
const ALWAYS_HEARD: ReadonlySet<LinkEvent["kind"]> = new Set(["connected", "disconnected"]);

export const JOB = { tenant: "default", job: "etl" };

export class SimCoordinator {
  readonly node: SimNode;
  driver: Driver | undefined;
  holder = "";
  /** Of its configuration when it started. */
  digests: ReadonlyMap<string, string> = new Map();
  /** Its process's keys. */
  seals: CoordinatorSeals | undefined;
  emitLink: ((event: LinkEvent) => void) | undefined;
  /** It came to its own end; nobody starts it again. */
  over = false;
  /** It is to start when the trouble that took it down is over. */
  wanted = true;
  #queue: VirtualQueue | undefined;
  readonly #world: World;
  readonly #rightOffset: number;
  #starts = 0;
  #attending = false;

  constructor(world: World, node: SimNode) {
    this.#world = world;
    this.node = node;
    this.#rightOffset = node.wallOffset;
    node.onDoom = () => this.crash("at an effect");
    node.onRan = () => world.leading(this);
  }

  get leads(): boolean {
    const { node, driver } = this;
    return node.alive && !node.paused && driver?.core().leadership.role === "leading";
  }

  get term(): number {
    return this.driver?.core().leadership.term ?? 0;
  }

  start(): void {
    const { node } = this;
    const world = this.#world;
    if (node.alive || this.over) return;
    node.boot();
    // A machine's clock is set right before anything starts on it, but for where it is not.
    if (!world.profile.insaneClocks) node.wallOffset = this.#rightOffset;
    this.#starts += 1;
    this.holder = `${node.name}-${this.#starts}`;
    this.digests = new Map(world.config);
    world.trace(node.name, "starts", { holder: this.holder });
    world.good.end(`node:${node.name}`);
    const queue = world.redis.open(node.clock);
    this.#queue = queue;
    const issuers = new Map(
      [...this.digests.keys()].map((name) => [name, this.#issuer(name)] as const),
    );
    const seals = world.seals.coordinator(node, this.holder);
    this.seals = seals;
    this.driver = startDriver({
      settings: this.#settings(seals),
      clock: node.clock,
      finished: (how) => this.#finished(how),
      ports: {
        lease: this.#watched("lease", (record) => world.oracle.onLeaseSent(this, record)),
        state: this.#watched<JobState>("state", () => world.oracle.onActs(this, "a state write")),
        bundle: this.#watched<Uint8Array>("bundle", () =>
          world.oracle.onActs(this, "a bundle write"),
        ),
        versionOf: seals.versionOf,
        sealer: {
          seal: (bundle, kid, done) =>
            node.io(() => {
              if (world.sealsFail) {
                done(failure(new EvergrantError("MESSAGE_TOO_LARGE", "too large")));
              } else {
                world.oracle.onSealed(bundle);
                seals.seal(bundle, kid, done);
              }
            }),
        },
        queue: this.#queuePort(queue),
        link: {
          listen: (emit) => {
            this.#attending = false;
            this.emitLink = (event) => {
              if (!this.#attending && !ALWAYS_HEARD.has(event.kind)) return;
              world.trace(node.name, "hears", event);
              emit(event);
            };
            world.nats.connect(node, (event) => this.emitLink?.(event));
          },
          attend: (on) => {
            this.#attending = on;
          },
          answerRegister: (request, decision, done) =>
            node.io(() => {
              world.scan("register answer", decision);
              world.answerRegister(node, seals, request, decision);
              done(success(undefined));
            }),
          answerCommand: (request, answer, done) =>
            node.io(() => {
              world.scan("command answer", answer);
              world.nats.toServer(node, () => world.operator.answered(this, request, answer));
              done(success(undefined));
            }),
          push: (agents, sealed, done) =>
            node.io(() => {
              world.oracle.onPushed(agents);
              world.nats.toServer(node, () => world.push(agents, sealed));
              done(success(undefined));
            }),
          notify: (notice, done) =>
            node.io(() => {
              world.scan("notice", notice);
              world.nats.toServer(node, () => world.notify(notice, seals.signer));
              done(success(undefined));
            }),
          close: (done) => done(success(undefined)),
        },
        audit: {
          record: (event) => {
            world.scan("audit", event);
            world.oracle.onAudit(this, event);
          },
          close: (done) => done(success(undefined)),
        },
        issuers,
        log: (level, message, facts) => {
          world.scan("log", { message, facts });
          world.trace(node.name, `log ${level}: ${message}`, facts);
        },
      },
    });
  }

  /** A register whose writes the oracle hears of when they are decided. */
  #watched<T = LeaseRecord>(key: string, decided: (value: T) => void): CasRegister<T> {
    const register = this.#world.nats.register<T>(key, this.node);
    return {
      ...register,
      write: (expected, value, done) => {
        decided(value);
        register.write(expected, value, done);
      },
    };
  }

  #issuer(name: string): Issuer {
    const issuer = this.#world.issuerOf(name).port(this.node);
    return {
      ...issuer,
      obtain: (call, done) => {
        this.#world.oracle.onAsk(this, name, call.timeout);
        issuer.obtain(call, done);
      },
    };
  }

  crash(why: string): void {
    const { node } = this;
    if (!node.alive) return;
    this.#world.trace(node.name, `crashes ${why}`, {});
    this.#down();
    this.wanted = true;
    this.#world.restartLater(this);
  }

  #down(): void {
    this.driver?.stop();
    this.#queue?.crash();
    this.driver = undefined;
    this.emitLink = undefined;
    this.seals = undefined;
    this.node.die();
    this.#world.good.begin(`node:${this.node.name}`);
    this.#world.leading(this);
  }

  #finished(how: "handed-over" | "ended" | { readonly fault: unknown }): void {
    const world = this.#world;
    if (typeof how === "object") {
      const { fault } = how;
      world.oracle.violated(
        "DEFECT",
        `${this.node.name} threw: ${fault instanceof Error ? fault.stack : String(fault)}`,
      );
      return;
    }
    world.trace(this.node.name, `finished: ${how}`, {});
    // The process goes on for a moment, then ends.
    this.node.after(0, () => {
      this.#down();
      if (how === "ended") this.over = true;
      else world.restartLater(this);
    });
  }

  #settings(seals: CoordinatorSeals): CoreSettings {
    const { profile } = this.#world;
    return {
      id: JOB,
      holder: this.holder,
      groupSet: seals.groupSet,
      newGroupKid: seals.newGroupKid,
      standby: this.#world.endedOnce || profile.coordinators > 1,
      ratio: 0.75,
      timing: profile.timing,
      providers: [...this.digests].map(([name, configDigest]): ProviderSettings => {
        const provider = this.#world.issuerOf(name).profile;
        return {
          name,
          kind: "simulated",
          credentialKind: "simulated",
          configDigest,
          minRemaining: durationMs(provider.minRemaining),
          callTimeout: durationMs(provider.callTimeout),
          assumedLifetime:
            provider.assumedLifetime === undefined
              ? undefined
              : durationMs(provider.assumedLifetime),
          cancels: provider.cancels,
        };
      }),
    };
  }

  #queuePort(queue: VirtualQueue): RenewalQueue {
    const { node } = this;
    const world = this.#world;
    return {
      ensure: (plan, done) =>
        node.io(() => {
          world.scan("queue", plan);
          queue.ensure(plan, (outcome) =>
            node.after(world.redis.away ? 500 : world.chance.unit() * 4, () => done(outcome)),
          );
        }),
      consume: (due) => {
        queue.consume((attempt) => {
          world.trace(node.name, "due", attempt);
          due(attempt);
        });
      },
      pause: () => queue.pause(),
      onReconnect: (back) => queue.onReconnect(() => node.after(0, back)),
      close: (done) => queue.close(done),
      obliterate: (done) => node.io(() => queue.obliterate(done)),
    };
  }
}
