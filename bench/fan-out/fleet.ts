/**
 * A process with a share of the agents, steered by messages of its parent. For each agent it holds
 * two connections: a real agent, and a bare NATS connection that answers each message with an ack of
 * the same size: at once on one subject, and on another one only after it has verified and opened
 * the bundle as an agent must.
 */
import { readFile } from "node:fs/promises";
import { accessFromBroker } from "../../src/nats/access.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { openBundle, verifyBundle } from "../../src/protocol/bundle.ts";
import { joinFileSchema } from "../../src/protocol/join.ts";
import { subject } from "../../src/protocol/subjects.ts";
import { epochMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { type JobMembership, joinJob } from "../../src/worker-agent/join-job.ts";

export interface FleetOrder {
  readonly joinFile: string;
  readonly first: number;
  readonly count: number;
  /** The bytes of an ack, for the bare connections. */
  readonly ack: string;
  readonly group: { readonly kid: string; readonly key: string };
}

/** Jobs that exist as subjects only, so that the coordinator does not take bare connections for agents. */
const RAW = "raw";
const OPENING = "raw-open";

const send = (message: object): void => {
  process.send?.(message);
};

process.on("message", (order: FleetOrder | "stop" | "cpu") => {
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

const agents: JobMembership[] = [];
const brokers: Broker[] = [];

async function stop(): Promise<void> {
  await Promise.all([...agents.map((a) => a.close()), ...brokers.map((b) => b.close())]);
}

async function start(order: FleetOrder): Promise<void> {
  const names = Array.from({ length: order.count }, (_, index) => `bench-${order.first + index}`);
  const join = joinFileSchema.parse(JSON.parse(await readFile(order.joinFile, "utf8")));
  const id = { tenant: join.tenant, job: join.job };
  const group = { kid: order.group.kid, key: Buffer.from(order.group.key, "base64url") };
  const ack = Buffer.from(order.ack);
  await inBatches(names, async (name) => {
    const agent = await joinJob({ joinFile: order.joinFile, name });
    agents.push(agent);
    const broker = await connectNats({
      role: "agent",
      id: { ...id, job: RAW },
      name,
      access: accessFromBroker(join.nats),
      clock: systemClock,
    });
    brokers.push(broker);
    const on = (job: string, then: (bytes: Uint8Array) => Promise<unknown> | undefined): void => {
      const answer = (): void => broker.nc.publish(subject.agent({ ...id, job }, "ack", name), ack);
      broker.nc.subscribe(subject.bundle({ ...id, job }), {
        callback: (_error, message) => {
          const work = then(message.data);
          if (work === undefined) answer();
          else void work.then(answer);
        },
      });
    };
    on(RAW, () => undefined);
    on(OPENING, (bytes) =>
      verifyBundle(bytes.slice(), id, join.jobKeys.signing, epochMs(0)).then((verified) =>
        openBundle(verified, [group]),
      ),
    );
    await broker.nc.flush();
    await agent.ready(120_000);
  });
}

/** Fifty at a time: a thousand handshakes at once on two cores only wait for each other. */
async function inBatches<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += 50) {
    await Promise.all(items.slice(at, at + 50).map(work));
  }
}
