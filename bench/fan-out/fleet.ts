/**
 * A process with a share of the agents, steered by messages of its parent. It holds either real
 * agents (`evergrant`) or bare NATS connections that answer each message with an ack of the same
 * size (`raw`), or answer only after having verified and opened the bundle as an agent does (`raw+open`).
 */
import { readFile } from "node:fs/promises";
import { accessFromBroker } from "../../src/nats/access.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { openBundle, verifyBundle } from "../../src/protocol/bundle.ts";
import { joinFileSchema } from "../../src/protocol/join.ts";
import type { GroupKey } from "../../src/protocol/keys.ts";
import { subject } from "../../src/protocol/subjects.ts";
import { epochMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { type JobMembership, joinJob } from "../../src/worker-agent/join-job.ts";

export interface FleetOrder {
  readonly mode: "raw" | "raw+open" | "evergrant";
  readonly joinFile: string;
  readonly first: number;
  readonly count: number;
  /** The bytes of an ack, for the bare ones. */
  readonly ack: string;
  /** To open with, for `raw+open`. */
  readonly group: { readonly kid: string; readonly key: string } | undefined;
}

const send = (message: object): void => {
  process.send?.(message);
};

process.on("message", (order: FleetOrder | "stop") => {
  if (order === "stop") void stop().then(() => process.exit(0));
  else
    void start(order).then(
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
  if (order.mode === "evergrant") {
    await inBatches(names, async (name) => {
      const agent = await joinJob({ joinFile: order.joinFile, name });
      agents.push(agent);
      await agent.ready(120_000);
    });
    return;
  }
  const join = joinFileSchema.parse(JSON.parse(await readFile(order.joinFile, "utf8")));
  const id = { tenant: join.tenant, job: join.job };
  // Subjects of their own: the coordinator must not take the bare connections for agents.
  const bare = { ...id, job: "raw" };
  const group: GroupKey | undefined = order.group && {
    kid: order.group.kid,
    key: Buffer.from(order.group.key, "base64url"),
  };
  const ack = Buffer.from(order.ack);
  await inBatches(names, async (name) => {
    const broker = await connectNats({
      role: "agent",
      id: bare,
      name,
      access: accessFromBroker(join.nats),
      clock: systemClock,
    });
    brokers.push(broker);
    const answer = (): void => broker.nc.publish(subject.agent(bare, "ack", name), ack);
    broker.nc.subscribe(subject.bundle(bare), {
      callback: (_error, message) => {
        if (group === undefined) {
          answer();
          return;
        }
        const bytes = message.data.slice();
        void verifyBundle(bytes, id, join.jobKeys.signing, epochMs(0))
          .then((verified) => openBundle(verified, [group]))
          .then(answer);
      },
    });
    await broker.nc.flush();
  });
}

/** Fifty at a time: a thousand handshakes at once on two cores only wait for each other. */
async function inBatches<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += 50) {
    await Promise.all(items.slice(at, at + 50).map(work));
  }
}
