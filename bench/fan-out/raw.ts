/** The baseline: a message of a bundle's bytes, and as many acks of an ack's, over NATS alone. */
import { headers } from "@nats-io/transport-node";
import { accessFromBroker } from "../../src/nats/access.ts";
import { connectNats } from "../../src/nats/connect.ts";
import { sealBundle } from "../../src/protocol/bundle.ts";
import { currentSet, groupKeyOf, type JobKeys } from "../../src/protocol/keys.ts";
import type { JobId } from "../../src/protocol/names.ts";
import { Secret } from "../../src/protocol/secret.ts";
import { subject } from "../../src/protocol/subjects.ts";
import { epochMs, seconds } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";

/** The same bytes as a job's own bundle has: one AWS session. */
export function bundleBytes(id: JobId, keys: JobKeys): Promise<Uint8Array> {
  const set = currentSet(keys.reveal());
  const credential = {
    provider: "lake",
    kind: "aws-session",
    generation: 1,
    issuedAt: epochMs(0),
    expiresAt: epochMs(4e12),
    issuerSkew: seconds(0),
    attributes: { region: "eu-west-1", accountId: "123456789012" },
    material: new Secret({
      accessKeyId: "A".repeat(20),
      secretAccessKey: "s".repeat(40),
      sessionToken: "t".repeat(360),
    }),
  };
  const head = { term: 1, generation: 1, sealedAt: epochMs(0), expiresAt: epochMs(4e12) };
  const content = { ...id, ...head, credentials: [credential], tombstones: [] };
  return sealBundle(content, groupKeyOf(set, id, "bench"), set.signing);
}

/** As many bytes as JetStream puts before a bundle that it republishes. */
function republished(): ReturnType<typeof headers> {
  const head = headers();
  for (const [name, value] of [
    ["Nats-Stream", "KV_evergrant_bundles"],
    ["Nats-Subject", "$KV.evergrant_bundles.default.bench"],
    ["Nats-Sequence", "10"],
    ["Nats-Last-Sequence", "9"],
    ["Nats-Time-Stamp", "2026-01-01T00:00:00.000000000Z"],
  ] as const) {
    head.append(name, value);
  }
  return head;
}

export interface RawJob {
  readonly id: JobId;
  /** From the publication to the last of `acks`, in milliseconds. */
  round(sealed: Uint8Array, acks: number): Promise<number>;
  stop(): Promise<void>;
}

/** A job that exists as subjects only, so that no coordinator takes its connections for agents. */
export async function startRaw(tenant: string, url: string): Promise<RawJob> {
  const id = { tenant, job: "raw" };
  const access = accessFromBroker({ servers: [url], user: "bench", password: "bench" });
  const broker = await connectNats({
    role: "coordinator",
    id,
    name: "bench",
    access,
    clock: systemClock,
  });
  const head = republished();
  return {
    id,
    async round(sealed, acks) {
      let heard = 0;
      const done = new Promise<number>((resolve) => {
        const subscription = broker.nc.subscribe(subject.agent(id, "ack", "*"), {
          callback: () => {
            heard += 1;
            if (heard < acks) return;
            subscription.unsubscribe();
            resolve(systemClock.now().mono);
          },
        });
      });
      await broker.nc.flush();
      const began = systemClock.now().mono;
      broker.nc.publish(subject.bundle(id), sealed, { headers: head });
      return (await done) - began;
    },
    stop: () => broker.close(),
  };
}
