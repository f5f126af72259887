/**
 * A process with a share of the agents, steered by messages of its parent. For each agent it holds
 * two connections: a real agent, and a bare NATS connection that answers each message with an ack of
 * the same size. A real agent opens each bundle for itself, or, when the parent says so, takes what
 * the first agent of this process opened: that is the same rotation without the opening.
 */
import { readFile } from "node:fs/promises";
import { accessFromBroker } from "../../src/nats/access.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import type { Bundle } from "../../src/protocol/bundle.ts";
import { joinFileSchema } from "../../src/protocol/join.ts";
import type { Done, Outcome } from "../../src/protocol/outcome.ts";
import { subject } from "../../src/protocol/subjects.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";
import {
  IN_PROCESS,
  inProcessReceivers,
} from "../../src/worker-agent/adapters/in-process/in-process-receivers.ts";
import { joseOpener } from "../../src/worker-agent/adapters/jose-opener/jose-opener.ts";
import { type Composed, composeAgent } from "../../src/worker-agent/compose.ts";
import { parseAgentConfig } from "../../src/worker-agent/config.ts";
import type { Receivers } from "../../src/worker-agent/ports/receivers.ts";

export interface FleetOrder {
  readonly joinFile: string;
  readonly first: number;
  readonly count: number;
  /** The bytes of an ack, for the bare connections. */
  readonly ack: string;
}

/** A job that exists as subjects only, so that the coordinator does not take bare connections for agents. */
const RAW = "raw";

const send = (message: object): void => {
  process.send?.(message);
};

let openingApart = false;

process.on("message", (order: FleetOrder | "stop" | "cpu" | "open-apart" | "open-each") => {
  if (order === "open-apart" || order === "open-each") {
    openingApart = order === "open-apart";
    return;
  }
  if (order === "cpu") {
    const { user, system } = process.cpuUsage();
    send({ kind: "cpu", ms: (user + system) / 1000 });
    return;
  }
  if (order === "stop") {
    void stop().then(() => process.exit(0));
    return;
  }
  start(order).then(
    () => send({ kind: "ready" }),
    (error: unknown) => send({ kind: "failed", error: String(error) }),
  );
});
// A parent that is gone leaves nobody behind.
process.on("disconnect", () => process.exit(1));

const agents: Composed<Receivers>[] = [];
const brokers: Broker[] = [];

async function stop(): Promise<void> {
  await Promise.all([...agents.map((a) => a.close()), ...brokers.map((b) => b.close())]);
}

/** The bundle that was opened last in this process, or is being opened, and who waits for it. */
let shared: { sealed: Uint8Array; outcome?: Outcome<Bundle>; waiting: Done<Bundle>[] } | undefined;

/** Opens with jose, as every agent does, but once for all agents of the process when it is to be apart. */
const benchOpener: typeof joseOpener = (id, keys) => {
  const jose = joseOpener(id, keys);
  return {
    open(sealed, using, done) {
      if (!openingApart) return jose.open(sealed, using, done);
      if (shared !== undefined && Buffer.compare(shared.sealed, sealed) === 0) {
        if (shared.outcome === undefined) shared.waiting.push(done);
        else done(shared.outcome);
        return;
      }
      const mine: NonNullable<typeof shared> = { sealed, waiting: [done] };
      shared = mine;
      jose.open(sealed, using, (outcome) => {
        mine.outcome = outcome;
        for (const each of mine.waiting) each(outcome);
      });
    },
  };
};

/** As `joinJob` does it, but for the opener. */
async function joinBench(joinFile: string, name: string): Promise<Composed<Receivers>> {
  const agent = await composeAgent({
    from: { joinFile },
    name,
    stateDir: undefined,
    timings: parseAgentConfig({ providers: [] }).timings,
    startTimeout: durationMs(60_000),
    specs: [],
    convention: [{ kind: IN_PROCESS, serves: ["*"] }],
    providers: [],
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    receivers: () => inProcessReceivers(systemClock, () => undefined),
    opener: benchOpener,
  });
  agent.start();
  return agent;
}

async function start(order: FleetOrder): Promise<void> {
  const names = Array.from({ length: order.count }, (_, index) => `bench-${order.first + index}`);
  const join = joinFileSchema.parse(JSON.parse(await readFile(order.joinFile, "utf8")));
  const id = { tenant: join.tenant, job: RAW };
  const ack = Buffer.from(order.ack);
  await inBatches(names, async (name) => {
    const agent = await joinBench(order.joinFile, name);
    agents.push(agent);
    const broker = await connectNats({
      role: "agent",
      id,
      name,
      access: accessFromBroker(join.nats),
      clock: systemClock,
    });
    brokers.push(broker);
    const answerTo = subject.agent(id, "ack", name);
    broker.nc.subscribe(subject.bundle(id), {
      callback: () => broker.nc.publish(answerTo, ack),
    });
    await broker.nc.flush();
    await agent.ready(durationMs(120_000));
  });
}

/** Fifty at a time: a thousand handshakes at once on two cores only wait for each other. */
async function inBatches<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += 50) {
    await Promise.all(items.slice(at, at + 50).map(work));
  }
}
