/**
 * A process with a share of the agents, steered by its parent. For each agent it holds two connections:
 * a real agent, and a bare NATS connection that answers each message with an ack. A real agent opens each
 * bundle for itself, or, when the parent says so, takes what the first agent of this process opened: that
 * is the same rotation without the opening. A bare connection answers a bundle of the job "apart" with an
 * ack that was made and signed beforehand: that is the same rotation without the agents' own part.
 */
import { readFile } from "node:fs/promises";
import { accessFromBroker } from "../../src/nats/access.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { joinFileSchema } from "../../src/protocol/join.ts";
import { agentMacKey } from "../../src/protocol/keys.ts";
import type { JobId, Version } from "../../src/protocol/names.ts";
import { encodeReport } from "../../src/protocol/report.ts";
import { subject } from "../../src/protocol/subjects.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { joinBench, type Opening, setOpening } from "../support/bench-agent.ts";
import { answer } from "../support/child.ts";

export type FleetQuestion =
  | {
      readonly kind: "start";
      readonly joinFile: string;
      readonly first: number;
      readonly count: number;
      /** Subjects only: what is said there is answered with bytes that nobody reads. */
      readonly raw: JobId;
      /** A job whose agents are the bare connections. */
      readonly apart: JobId & { readonly macRoot: string };
    }
  /** Makes the next acks of the job "apart", or sends them at once, so that its coordinator knows who is there. */
  | { readonly kind: "prepare"; readonly version: Version; readonly now: boolean }
  | { readonly kind: "open"; readonly how: Opening }
  /** CPU time so far, in milliseconds. */
  | { readonly kind: "cpu" };

interface Bare {
  readonly broker: Broker;
  readonly answerTo: string;
  /** Signed, for this version. */
  readonly ackOf: (version: Version) => Uint8Array;
  next: Uint8Array | undefined;
}

/** Of the bytes that nobody reads, as many as a real one has. */
const SOME_VERSION: Version = { term: 1_838_480_786_493, generation: 1 };

const bare: Bare[] = [];

answer(async (question: FleetQuestion) => {
  switch (question.kind) {
    case "start":
      return await start(question);
    case "open":
      setOpening(question.how);
      return;
    case "prepare":
      for (const one of bare) {
        const ack = one.ackOf(question.version);
        if (question.now) one.broker.nc.publish(one.answerTo, ack);
        else one.next = ack;
      }
      if (question.now) await Promise.all(bare.map(({ broker }) => broker.nc.flush()));
      return;
    case "cpu": {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    }
  }
});

async function start(order: Extract<FleetQuestion, { kind: "start" }>): Promise<void> {
  const names = Array.from({ length: order.count }, (_, index) => `bench-${order.first + index}`);
  const { nats } = joinFileSchema.parse(JSON.parse(await readFile(order.joinFile, "utf8")));
  const { raw, apart } = order;
  await inBatches(names, async (name) => {
    const agent = await joinBench(order.joinFile, name);
    const access = accessFromBroker(nats);
    const broker = await connectNats({ role: "agent", id: raw, name, access, clock: systemClock });
    const answerTo = subject.agent(apart, "ack", name);
    const one: Bare = { broker, answerTo, ackOf: signer(apart, name, answerTo), next: undefined };
    bare.push(one);
    const rawTo = subject.agent(raw, "ack", name);
    const ack = one.ackOf(SOME_VERSION);
    broker.nc.subscribe(subject.bundle(raw), { callback: () => broker.nc.publish(rawTo, ack) });
    broker.nc.subscribe(subject.bundle(apart), {
      callback: () => {
        if (one.next !== undefined) broker.nc.publish(answerTo, one.next);
        one.next = undefined;
      },
    });
    await broker.nc.flush();
    await agent.ready(durationMs(120_000));
  });
}

function signer(
  job: JobId & { readonly macRoot: string },
  agent: string,
  to: string,
): Bare["ackOf"] {
  const who = { agent, instance: `${agent}-instance-0` };
  const key = agentMacKey(job.macRoot, job, who);
  let sequence = 0;
  return (version) => {
    sequence += 1;
    return encodeReport(
      {
        v: 1,
        type: "ack",
        ...who,
        sequence,
        ...version,
        results: [
          {
            provider: "lake",
            kind: "in-process",
            generation: version.generation,
            outcome: "applied",
            tookMs: 1.5,
          },
        ],
      },
      to,
      key,
    );
  };
}

/** Fifty at a time: a thousand handshakes at once on two cores only wait for each other. */
async function inBatches<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += 50) {
    await Promise.all(items.slice(at, at + 50).map(work));
  }
}
