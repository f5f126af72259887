/** One worker agent: the real core under the real driver, on the simulated ports of one machine. */
import { toBase64Url } from "../../src/protocol/encoding.ts";
import { EvergrantError } from "../../src/protocol/errors.ts";
import type { SigningKey } from "../../src/protocol/keys.ts";
import type { Version } from "../../src/protocol/names.ts";
import { type Done, failure, success } from "../../src/protocol/outcome.ts";
import { Secret } from "../../src/protocol/secret.ts";
import type { News } from "../../src/worker-agent/core/events.ts";
import type { LinkEvent } from "../../src/worker-agent/ports/coordinator-link.ts";
import type { Serving } from "../../src/worker-agent/ports/credential-receiver.ts";
import { type AgentDriver, driveAgent } from "../../src/worker-agent/runtime/agent-driver.ts";
import type { AgentSeals } from "./seals.ts";
import { JOB } from "./sim-coordinator.ts";
import type { SimNode } from "./sim-node.ts";
import type { World } from "./world.ts";

const NOTHING: Version = { term: 0, generation: 0 };
const ZEROS = toBase64Url(new Uint8Array(32));

export class SimAgent {
  readonly node: SimNode;
  /** Two agents may have one name. */
  readonly name: string;
  driver: AgentDriver | undefined;
  /** Its process's keys. */
  seals: AgentSeals | undefined;
  emitLink: ((event: LinkEvent) => void) | undefined;
  instance = "";
  /** Its state folder, if it has one. */
  readonly folder: { ticket: string | undefined; highest: Version } | undefined;
  /** Whether its disk is full. */
  diskFull = false;
  /** Whether receivers fail or are slow, for now. */
  receivers: "well" | "failing" | "slow" = "well";
  /** What each receiver would hand out now, until then on the node's monotonic clock. */
  readonly serving = new Map<string, Serving>();
  /** It has heard that the job has ended. */
  ended = false;
  joinedAt = Number.POSITIVE_INFINITY;
  key = "";
  readonly #world: World;
  #starts = 0;

  constructor(world: World, node: SimNode, name: string, persistent: boolean) {
    this.#world = world;
    this.node = node;
    this.name = name;
    this.folder = persistent ? { ticket: undefined, highest: NOTHING } : undefined;
    node.onDoom = () => this.crash("at an effect");
  }

  start(): void {
    const { node, folder } = this;
    const world = this.#world;
    if (node.alive) return;
    node.boot();
    this.#starts += 1;
    this.instance = `${node.name}-${this.#starts}`;
    this.key = folder === undefined ? `key-${this.instance}` : `key-${node.name}`;
    this.joinedAt = Number.POSITIVE_INFINITY;
    world.trace(node.name, "starts", { instance: this.instance });
    world.good.end(`node:${node.name}`);
    world.oracle.onAgentStarts(this);
    const signing: SigningKey = {
      kid: this.key,
      jwk: { kty: "OKP", crv: "Ed25519", x: ZEROS, d: ZEROS },
    };
    const seals = world.seals.agent(node);
    this.seals = seals;
    this.driver = driveAgent({
      ...JOB,
      key: new Secret(signing),
      settings: {
        agent: this.name,
        instance: this.instance,
        receivers: [],
        convention: [{ kind: "probe", serves: ["*"] }],
        providers: [],
        persistent: folder !== undefined,
        ticket: folder?.ticket,
        highest: folder?.highest ?? NOTHING,
        timings: world.profile.agentTimings,
      },
      ports: {
        clock: node.clock,
        link: {
          listen: (emit) => {
            this.emitLink = (event) => {
              world.trace(node.name, "hears", event);
              emit(event);
            };
            world.nats.connect(node, (event) => this.emitLink?.(event));
          },
          register: (request, done) =>
            node.io(() =>
              world.register(this, request, seals.readJoin(), (outcome) => {
                const brought = outcome.ok && outcome.value.accepted ? outcome.value : undefined;
                if (brought?.body.jobKeys !== undefined) seals.learn(brought.body.jobKeys);
                done(outcome);
              }),
            ),
          report: (report, _macKey, done) => {
            world.scan("report", report);
            if (!world.nats.isUp(node)) {
              done(failure(new EvergrantError("BROKER_UNAVAILABLE", "not connected")));
              return;
            }
            world.trace(node.name, "reports", report);
            node.io(() => {
              world.report(this, report);
              done(success(undefined));
            });
          },
          close: (done) => done(success(undefined)),
        },
        opener: {
          open: (sealed, using, done) => node.io(() => seals.open(sealed, using, done)),
        },
        store: {
          restore: (done) => done(success(undefined)),
          persist: (record, done) =>
            node.io(() =>
              node.after(world.chance.unit() * 20, () => {
                if (this.diskFull || folder === undefined) {
                  world.oracle.onDiskFailed(this);
                  done(failure(new EvergrantError("FILE_UNUSABLE", "the disk is full")));
                  return;
                }
                folder.ticket = record.ticket;
                folder.highest = record.highest;
                node.after(world.chance.unit() * 2, () => done(success(undefined)));
              }),
            ),
        },
        receivers: {
          start: (_id, _spec, done) => this.#receive(() => undefined, done),
          apply: (id, serving, done) => this.#receive(() => this.#apply(id, serving), done),
          withdraw: (id, _provider, done) =>
            this.#receive(() => void this.serving.delete(id), done),
          stop: (done) => done(success(undefined)),
        },
      },
      tell: (news) => this.#tell(news),
      fault: (thrown) =>
        world.oracle.violated(
          "DEFECT",
          `${node.name} threw: ${thrown instanceof Error ? thrown.stack : String(thrown)}`,
        ),
    });
    this.driver.start();
  }

  crash(why: string): void {
    if (!this.node.alive) return;
    this.#world.trace(this.node.name, `crashes ${why}`, {});
    this.driver?.stop();
    this.driver = undefined;
    this.emitLink = undefined;
    this.seals = undefined;
    this.serving.clear();
    this.node.die();
    this.#world.good.begin(`node:${this.node.name}`);
    this.#world.restartLater(this);
  }

  /** Stopped as an operator stops it: it ends once it has said so. */
  leave(): void {
    if (!this.node.alive) return;
    this.#world.trace(this.node.name, "leaves", {});
    this.driver?.leave();
    this.node.after(5, () => this.crash("having left"));
  }

  /** The folder is lost with the machine. */
  forget(): void {
    if (this.folder === undefined) return;
    this.folder.ticket = undefined;
    this.folder.highest = NOTHING;
    this.#world.oracle.onFolderLost(this);
  }

  /** What a consumer gets that asks now. */
  handsOut(receiver: string): Serving | undefined {
    const serving = this.serving.get(receiver);
    if (serving === undefined || !this.node.alive) return undefined;
    return this.node.now().mono < serving.until ? serving : undefined;
  }

  #receive(work: () => void, done: Done<void>): void {
    const { chance } = this.#world;
    this.node.io(() => {
      const delay =
        chance.unit() * (this.receivers === "slow" ? 20_000 * this.#world.profile.scale : 10);
      this.node.after(delay, () => {
        if (this.receivers === "failing" && chance.happens(0.8)) {
          done(failure(new EvergrantError("RECEIVER_FAILED", "as it pleases")));
          return;
        }
        work();
        done(success(undefined));
      });
    });
  }

  #apply(receiver: string, serving: Serving): void {
    // As the SPI says: what has ended is handed out to nobody, however late it was asked to apply.
    this.serving.set(receiver, serving);
    this.#world.oracle.onApplied(this, receiver, serving);
  }

  #tell(news: News): void {
    this.#world.scan("news", news);
    this.#world.trace(this.node.name, `news ${news.kind}`, news);
    if (news.kind === "accepted") this.#world.oracle.onAccepted(this, news.version);
    if (news.kind === "joined") this.joinedAt = this.#world.timeline.now;
    if (news.kind === "ended") this.ended = true;
  }
}
