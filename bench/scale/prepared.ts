/**
 * Agents whose own part of a join is done beforehand: each holds its sealed request, and takes its reply
 * as bytes. Agents do that part on machines of their own, all at the same time; here it would be on the
 * cores of the coordinator, one after the other.
 */

import { accessFromBroker } from "../../src/nats/access.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { toBase64Url } from "../../src/protocol/encoding.ts";
import type { JoinFile } from "../../src/protocol/join.ts";
import { createSigningKey, publicPart } from "../../src/protocol/keys.ts";
import { sealRegister } from "../../src/protocol/register.ts";
import { subject } from "../../src/protocol/subjects.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";

const word = (length: number): string => toBase64Url(systemRandom.bytes(length));

/** The request of an agent that knows nothing but the join file. */
export async function prepare(join: JoinFile, agent: string): Promise<Uint8Array> {
  const key = await createSigningKey(systemRandom);
  const body = {
    v: 1 as const,
    tenant: join.tenant,
    job: join.job,
    agent,
    instance: word(16),
    nonce: word(32),
    key: publicPart(key),
    replyKey: word(32),
    token: join.token,
    receivers: [],
    highest: { term: 0, generation: 0 },
  };
  return await sealRegister(body, key, join.jobKeys.registration);
}

/** Connects and subscribes as an agent does, and asks. Resolves once the reply, the bundle in it, is there. */
export async function joinPrepared(
  join: JoinFile,
  agent: string,
  request: Uint8Array,
): Promise<Broker> {
  const id = { tenant: join.tenant, job: join.job };
  const access = accessFromBroker(join.nats);
  const broker = await connectNats({ role: "agent", id, name: agent, access, clock: systemClock });
  for (const heard of [subject.bundle(id), subject.push(id, agent), subject.notice(id)]) {
    broker.nc.subscribe(heard, { callback: () => undefined });
  }
  await broker.nc.flush();
  const to = subject.agent(id, "register", agent);
  const { data } = await broker.nc.request(to, request, { timeout: 120_000 });
  const reply = JSON.parse(Buffer.from(data).toString()) as { bundle?: string | null };
  if (typeof reply.bundle !== "string") throw new Error(`${agent} was not let in`);
  return broker;
}
