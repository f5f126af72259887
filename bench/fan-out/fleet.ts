/**
 * A process with a share of the agents, steered by messages of its parent. For each agent it holds
 * two connections: a real agent, and a bare NATS connection that answers each message with an ack of
 * the same size. A real agent opens each bundle for itself, or, when the parent says so, takes what
 * the first agent of this process opened: that is the same rotation without the opening.
 */
import { readFile } from "node:fs/promises";
import { accessFromBroker } from "../../src/nats/access.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { joinFileSchema } from "../../src/protocol/join.ts";
import { subject } from "../../src/protocol/subjects.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { type BenchAgent, joinBench, type Opening, setOpening } from "../support/bench-agent.ts";

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

process.on("message", (order: FleetOrder | "stop" | "cpu" | Opening) => {
  if (order === "open-apart" || order === "open-each") {
    setOpening(order);
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

const agents: BenchAgent[] = [];
const brokers: Broker[] = [];

async function stop(): Promise<void> {
  await Promise.all([...agents.map((a) => a.close()), ...brokers.map((b) => b.close())]);
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
