/**
 * The coordinator's side of the wire as the test dictates it: real NATS, real keys and seals, no
 * decisions of its own. Owns what it heard; refuses to be a coordinator.
 */

import type { Broker } from "../../../src/nats/connect.ts";
import { openBucket } from "../../../src/nats/nats-kv.ts";
import { type Bundle, sealBundle } from "../../../src/protocol/bundle.ts";
import { AWS_SESSION, type Credential } from "../../../src/protocol/credential.ts";
import { toBase64Url, utf8 } from "../../../src/protocol/encoding.ts";
import type { JoinFile } from "../../../src/protocol/join.ts";
import { signJoinToken, signTicket } from "../../../src/protocol/join.ts";
import {
  agentMacKey,
  currentSet,
  type GroupKey,
  groupKeyOf,
  type JobKeyFile,
  publicKeysOf,
  randomKid,
} from "../../../src/protocol/keys.ts";
import { type Notice, sealNotice } from "../../../src/protocol/notice.ts";
import {
  openRegister,
  type RegisterBody,
  sealRefused,
  sealRegistered,
} from "../../../src/protocol/register.ts";
import { decodeReport, type Report } from "../../../src/protocol/report.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { jobKey, subject } from "../../../src/protocol/subjects.ts";
import { durationMs, epochMs } from "../../../src/protocol/time.ts";
import { systemClock, systemRandom } from "../../../src/runtime/system-clock.ts";
import { connectAs, type TestJob, userOf } from "../../support/nats-job.ts";
import type { TestServer } from "../../support/servers.ts";

/**
 * Quick, so that a test of retries does not wait for a minute. An answer has its time all the same: the tests
 * count registrations, and a busy machine must not make two of one.
 */
export const QUICK = {
  registerRetry: { firstMs: 50, lastMs: 200 },
  receiverRetry: { firstMs: 50, lastMs: 200 },
  catchUpSpreadMs: 50,
  registerSpreadMs: 50,
  requestTimeoutMs: 10_000,
  reconnectWaitMs: 50,
  reconnectJitterMs: 10,
};

export class ScriptedCoordinator {
  readonly job: TestJob;
  readonly broker: Broker;
  readonly registers: RegisterBody[] = [];
  readonly reports: Report[] = [];
  term = 100;
  beatMs = 200;
  /** Refuse registrations with this code; undefined: let all in. */
  refusing: string | undefined;
  /** Whether it answers registrations at all. */
  answering = true;
  group: GroupKey;
  #kv: Awaited<ReturnType<typeof openBucket>>["kv"];
  #current: { readonly generation: number; readonly sealed: Uint8Array } | undefined;
  #notices = 0;
  #url: string;

  private constructor(
    job: TestJob,
    broker: Broker,
    kv: Awaited<ReturnType<typeof openBucket>>["kv"],
    url: string,
  ) {
    this.job = job;
    this.broker = broker;
    this.#kv = kv;
    this.#url = url;
    this.group = groupKeyOf(currentSet(job.file), job.id, randomKid(systemRandom));
  }

  static async start(job: TestJob, server: TestServer): Promise<ScriptedCoordinator> {
    const { broker } = await connectAs(server.url, "coordinator", job.id, "c1");
    const { kv } = await openBucket(broker, "bundle");
    const made = new ScriptedCoordinator(job, broker, kv, server.url);
    made.#listen();
    await broker.nc.flush();
    return made;
  }

  get #keys(): JobKeyFile {
    return this.job.file;
  }

  #listen(): void {
    const { id } = this.job;
    this.broker.nc.subscribe(subject.agent(id, "register", "*"), {
      callback: (_error, message) => {
        void this.#answer(message.data).then((reply) => {
          if (reply !== undefined) message.respond(reply);
        });
      },
    });
    for (const verb of ["ack", "beat", "demand"] as const) {
      this.broker.nc.subscribe(subject.agent(id, verb, "*"), {
        callback: (_error, message) => {
          const report = decodeReport(message.data, message.subject, (agent, instance) => [
            agentMacKey(currentSet(this.#keys).macRoot, id, { agent, instance }),
          ]);
          this.reports.push(report);
          const current = this.#current;
          if (verb === "beat" && current !== undefined && report.generation < current.generation) {
            void this.push(report.agent, current.sealed);
          }
        },
      });
    }
  }

  async #answer(bytes: Uint8Array): Promise<Uint8Array | undefined> {
    const { body } = await openRegister(bytes, this.#keys);
    this.registers.push(body);
    if (!this.answering) return undefined;
    const { signing, macRoot } = currentSet(this.#keys);
    const timeMs = systemClock.now().wall;
    if (this.refusing !== undefined) return await sealRefused(body, this.refusing, timeMs, signing);
    const { agent, instance, key } = body;
    const ticket = { ...this.job.id, agent, key, tokenId: "token-0001", issuedAtMs: timeMs };
    return await sealRegistered(
      {
        v: 1,
        nonce: body.nonce,
        term: this.term,
        generation: this.#current?.generation ?? 0,
        timeMs,
        groupKeys: [{ kid: this.group.kid, key: toBase64Url(this.group.key) }],
        macKey: toBase64Url(agentMacKey(macRoot, this.job.id, { agent, instance })),
        ticket: await signTicket(ticket, signing),
        beatMs: this.beatMs,
      },
      body.replyKey,
      this.#current?.sealed,
      signing,
    );
  }

  async joinFile(): Promise<JoinFile> {
    const { id, file } = this.job;
    const { user, password } = userOf("agent", id, "*");
    const notAfterMs = systemClock.now().wall + 3_600_000;
    const token = { id: "token-0001", ...id, notAfterMs, maxAgents: 1000 };
    return {
      version: 1,
      ...id,
      expiresAt: new Date(notAfterMs).toISOString(),
      token: await signJoinToken(token, currentSet(file).signing),
      nats: { servers: [this.#url], user, password },
      jobKeys: publicKeysOf(file),
    };
  }

  credential(
    provider: string,
    generation: number,
    lifeMs = 3_600_000,
    over: Partial<Credential> = {},
  ): Credential {
    const { wall } = systemClock.now();
    return {
      provider,
      kind: "test",
      generation,
      issuedAt: wall,
      expiresAt: epochMs(wall + lifeMs),
      issuerSkew: durationMs(0),
      attributes: {},
      material: new Secret({ text: `material-${provider}-${generation}` }),
      ...over,
    };
  }

  /** One that AWS's receivers take. */
  awsSession(provider: string, generation: number, lifeMs = 3_600_000): Credential {
    const material = new Secret({
      accessKeyId: `ASIATESTTESTTEST${String(generation).padStart(4, "0")}`,
      secretAccessKey: `secret-of-${provider}-${generation}`,
      sessionToken: `session-of-${provider}-${generation}`,
    });
    return this.credential(provider, generation, lifeMs, { kind: AWS_SESSION, material });
  }

  bundle(
    generation: number,
    credentials: readonly Credential[],
    over: Partial<Bundle> = {},
  ): Bundle {
    const { wall } = systemClock.now();
    return {
      ...this.job.id,
      term: this.term,
      generation,
      sealedAt: wall,
      expiresAt: epochMs(Math.max(...credentials.map(({ expiresAt }) => expiresAt))),
      credentials,
      tombstones: [],
      ...over,
    };
  }

  seal(bundle: Bundle, file: JobKeyFile = this.#keys): Promise<Uint8Array> {
    return sealBundle(bundle, this.group, currentSet(file).signing);
  }

  /** Stores and so broadcasts the bundle. */
  async publish(generation: number, credentials: readonly Credential[]): Promise<Uint8Array> {
    const sealed = await this.seal(this.bundle(generation, credentials));
    this.#current = { generation, sealed };
    await this.store(sealed);
    return sealed;
  }

  /** Stores any bytes as the bundle. */
  async store(bytes: Uint8Array): Promise<void> {
    await this.#kv.put(jobKey(this.job.id), bytes);
  }

  async push(agent: string, bytes: Uint8Array): Promise<void> {
    this.broker.nc.publish(subject.push(this.job.id, agent), bytes);
    await this.broker.nc.flush();
  }

  async notice(what: Notice["what"]): Promise<Uint8Array> {
    this.#notices += 1;
    const timeMs = systemClock.now().wall;
    const head = { v: 1, ...this.job.id, term: this.term, sequence: this.#notices } as const;
    const bytes = await sealNotice({ ...head, timeMs, what }, currentSet(this.#keys).signing);
    await this.say(bytes);
    return bytes;
  }

  async say(bytes: Uint8Array): Promise<void> {
    this.broker.nc.publish(subject.notice(this.job.id), bytes);
    await this.broker.nc.flush();
  }

  /** A new group key, as after a revocation. */
  rekey(): void {
    this.group = groupKeyOf(currentSet(this.#keys), this.job.id, randomKid(systemRandom));
  }

  acks(agent: string): readonly Report[] {
    return this.reports.filter((report) => report.type === "ack" && report.agent === agent);
  }
}

export const garbage = utf8("not.a.bundle");
