/** A process with a share of the agents, or of bare NATS connections that say as much. */
import { readFile } from "node:fs/promises";
import { accessFromBroker } from "../../src/nats/access.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { joinFileSchema } from "../../src/protocol/join.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { type BenchAgent, joinBench, type Opening, setOpening } from "../support/bench-agent.ts";
import { answer, usage } from "../support/child.ts";
import { joinPrepared, prepare } from "./prepared.ts";

export type FleetQuestion =
  | {
      readonly kind: "agents" | "bare" | "prepare" | "prepared";
      readonly joinFile: string;
      readonly first: number;
      readonly count: number;
      /** Handshakes under way at once. */
      readonly atOnce: number;
      /** Of a bare one's messages, in bytes. */
      readonly requestBytes: number;
      readonly ackBytes: number;
    }
  | { readonly kind: "opening"; readonly how: Opening }
  | { readonly kind: "usage" };

const agents: BenchAgent[] = [];
const brokers: Broker[] = [];
const requests = new Map<string, Uint8Array>();

answer(async (question: FleetQuestion) => {
  if (question.kind === "usage") return usage();
  if (question.kind === "opening") return setOpening(question.how);
  const names = Array.from({ length: question.count }, (_, i) => `bench-${question.first + i}`);
  if (question.kind === "agents") {
    await pooled(names, question.atOnce, async (name) => {
      const agent = await joinBench(question.joinFile, name);
      agents.push(agent);
      await agent.ready(durationMs(300_000));
    });
    return agents.length;
  }
  const join = joinFileSchema.parse(JSON.parse(await readFile(question.joinFile, "utf8")));
  if (question.kind === "prepare") {
    await pooled(names, question.atOnce, async (name) => {
      requests.set(name, await prepare(join, name));
    });
    return requests.size;
  }
  if (question.kind === "prepared") {
    await pooled(names, question.atOnce, async (name) => {
      brokers.push(await joinPrepared(join, name, requests.get(name) ?? new Uint8Array()));
    });
    return brokers.length;
  }
  const id = { tenant: join.tenant, job: "bare" };
  const request = Buffer.alloc(question.requestBytes);
  const ack = Buffer.alloc(question.ackBytes);
  await pooled(names, question.atOnce, async (name) => {
    const access = accessFromBroker(join.nats);
    const broker = await connectNats({ role: "agent", id, name, access, clock: systemClock });
    brokers.push(broker);
    for (const heard of ["bare.push", `bare.push.${name}`, "bare.notice"]) {
      broker.nc.subscribe(heard, { callback: () => broker.nc.publish(`bare.ack.${name}`, ack) });
    }
    await broker.nc.flush();
    await broker.nc.request(`bare.register.${name}`, request, { timeout: 60_000 });
  });
  return brokers.length;
});

/** So many at once, without waiting for the slowest of a batch. */
async function pooled<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  const run = async (): Promise<void> => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, run));
}
