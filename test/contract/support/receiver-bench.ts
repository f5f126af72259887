/** What a receiver's test needs around it: folders, a clock, and a record of all that it logged. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { AWS_SESSION, type Credential } from "../../../src/protocol/credential.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { type Clock, durationMs, epochMs, later } from "../../../src/protocol/time.ts";
import { systemRandom } from "../../../src/runtime/system-clock.ts";
import type {
  ConsumerRequest,
  ReceiverServices,
  Serving,
} from "../../../src/worker-agent/ports/credential-receiver.ts";

export interface ReceiverBench {
  readonly services: ReceiverServices;
  /** Removed after the test. */
  readonly dir: string;
  readonly logged: unknown[];
  readonly requests: ConsumerRequest[];
  /** How many requests of consumers came to this end. */
  count(outcome: string): number;
}

/** With a state folder, as an agent has that was given one. */
export function receiverBench(
  clock: Clock,
  changed: Partial<ReceiverServices> = {},
): ReceiverBench {
  const dir = mkdtempSync(join(tmpdir(), "evergrant-receiver-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const logged: unknown[] = [];
  const requests: ConsumerRequest[] = [];
  return {
    dir,
    logged,
    requests,
    count: (outcome) => requests.filter((request) => request.outcome === outcome).length,
    services: {
      tenant: "default",
      job: "etl",
      agent: "a1",
      provider: "lake",
      clock,
      random: systemRandom,
      stateDir: join(dir, "state"),
      workDir: dir,
      observe: (request) => void requests.push(request),
      log: (level, message, facts) => void logged.push({ level, message, facts }),
      ...changed,
    },
  };
}

/** The access key of generation `n`: what tells credentials apart, and is no secret. */
export const accessKeyOf = (n: number): string => `ASIA${String(n).padStart(16, "0")}`;

/** The secrets of generation `n`, which may be nowhere but at the consumer. */
export const secretsOf = (n: number): string[] => [
  `secret-key-${n}-hush`,
  `session-token-${n}-hush`,
];

/** An AWS session of generation `n` that lives `lifeMs` from now on both of the clock's readings. */
export function awsServing(clock: Clock, n: number, lifeMs = 3_600_000): Serving {
  const now = clock.now();
  const [secretAccessKey, sessionToken] = secretsOf(n);
  const credential: Credential = {
    provider: "lake",
    kind: AWS_SESSION,
    generation: n,
    issuedAt: now.wall,
    expiresAt: epochMs(now.wall + lifeMs),
    issuerSkew: durationMs(0),
    attributes: { region: "eu-west-1", accountId: "123456789012" },
    material: new Secret({ accessKeyId: accessKeyOf(n), secretAccessKey, sessionToken }),
  };
  return { credential, until: later(now.mono, durationMs(lifeMs)) };
}
