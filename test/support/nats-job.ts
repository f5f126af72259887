/** One job on a real broker: its keys, a user with its own permissions for each client, and how to connect as one. */
import type { NatsUser } from "../../src/embedded/nats-config.ts";
import { accessFromBroker } from "../../src/nats/access.ts";
import type { BrokerEvent } from "../../src/nats/broker-events.ts";
import { type Broker, connectNats } from "../../src/nats/connect.ts";
import { toBase64Url } from "../../src/protocol/encoding.ts";
import { type JoinToken, signJoinToken } from "../../src/protocol/join.ts";
import {
  boxed,
  createJobKeySet,
  createSigningKey,
  type JobKeyFile,
  type JobKeys,
  type JobPublicKeys,
  publicKeysOf,
  publicPart,
  type SigningKey,
} from "../../src/protocol/keys.ts";
import type { JobId } from "../../src/protocol/names.ts";
import { permissionsOf, type Role } from "../../src/protocol/permissions.ts";
import type { RegisterBody } from "../../src/protocol/register.ts";
import { epochMs, seconds } from "../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";

export interface TestJob {
  readonly id: JobId;
  readonly file: JobKeyFile;
  readonly keys: JobKeys;
  readonly publicKeys: JobPublicKeys;
  readonly operator: SigningKey;
}

export async function testJob(id: JobId = { tenant: "acme", job: "etl" }): Promise<TestJob> {
  const set = await createJobKeySet(epochMs(1_700_000_000_000), systemRandom);
  const file: JobKeyFile = { version: 1, ...id, sets: [set] };
  const operator = await createSigningKey(systemRandom);
  return { id, file, keys: boxed(file), publicKeys: publicKeysOf(file), operator };
}

/** A user that may do just what the table allows. User name and password are the same. */
export const userOf = (role: Role, id: JobId, name: string): NatsUser => ({
  user: `${id.job}-${role}-${name}`,
  password: `${id.job}-${role}-${name}`,
  permissions: permissionsOf(role, id, name),
});

export interface TestClient {
  readonly broker: Broker;
  readonly events: BrokerEvent[];
}

export async function connectAs(
  url: string,
  role: Role,
  id: JobId,
  name: string,
  login: boolean = true,
): Promise<TestClient> {
  const { user, password } = userOf(role, id, name);
  const events: BrokerEvent[] = [];
  const broker = await connectNats({
    role,
    id,
    name,
    access: accessFromBroker({ servers: [url], ...(login ? { user, password } : {}) }),
    clock: systemClock,
    startTimeout: seconds(10),
    onEvent: (event) => events.push(event),
    pace: { reconnectTimeWait: 50, reconnectJitter: 10 },
  });
  return { broker, events };
}

/** A register request as an agent would make it. */
export async function registerBody(
  job: TestJob,
  agent: string,
  own: SigningKey,
  over: Partial<RegisterBody> = {},
): Promise<RegisterBody> {
  const token: JoinToken = {
    id: "token-0001",
    ...job.id,
    notAfterMs: 4_000_000_000_000,
    maxAgents: 1_000_000,
  };
  const [set] = job.file.sets;
  if (set === undefined) throw new Error("unreachable");
  return {
    v: 1,
    ...job.id,
    agent,
    instance: `${agent}-i1`,
    nonce: toBase64Url(systemRandom.bytes(32)),
    key: publicPart(own),
    replyKey: toBase64Url(systemRandom.bytes(32)),
    token: await signJoinToken(token, set.signing),
    receivers: [{ kind: "file", provider: "lake" }],
    highest: { term: 0, generation: 0 },
    ...over,
  };
}
