/**
 * The link to the coordinator over NATS. Owns the connection, the order subscribe, flush, register
 * (design, section 5) and the wire forms; refuses to judge what it carries. Each registration reads
 * the join file again, and follows it to another broker when that is what it says.
 */
import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { NoRespondersError, RequestError, TimeoutError } from "@nats-io/transport-node";
import { accessFromBroker } from "../../../nats/access.ts";
import { pause } from "../../../nats/bounded.ts";
import { type Broker, connectNats } from "../../../nats/connect.ts";
import type { PaceOverride } from "../../../nats/role-options.ts";
import { toBase64Url } from "../../../protocol/encoding.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import type { JoinFile } from "../../../protocol/join.ts";
import {
  type JobPublicKeys,
  publicPart,
  type SigningKey,
  type VerifyKey,
} from "../../../protocol/keys.ts";
import type { AgentId, JobId } from "../../../protocol/names.ts";
import { openNotice } from "../../../protocol/notice.ts";
import { failure, settle, success } from "../../../protocol/outcome.ts";
import {
  openRegisterReply,
  type RegisterAnswer,
  type RegisterBody,
  sealRegister,
} from "../../../protocol/register.ts";
import { encodeReport } from "../../../protocol/report.ts";
import type { Secret } from "../../../protocol/secret.ts";
import { subject } from "../../../protocol/subjects.ts";
import type { Clock, DurationMs, Random } from "../../../protocol/time.ts";
import { durationMs } from "../../../protocol/time.ts";
import type { CoordinatorLink, LinkEvent, RegisterRequest } from "../../ports/coordinator-link.ts";
import type { JoinSource } from "../join-source/join-source.ts";

export interface NatsLinkOptions {
  readonly id: JobId;
  readonly identity: AgentId;
  readonly key: Secret<SigningKey>;
  /** As read at the start; the source is read again at each registration. */
  readonly join: JoinFile;
  readonly source: JoinSource;
  readonly clock: Clock;
  readonly random: Random;
  /** How long one connect, and all of its attempts, may take before the next one begins. */
  readonly connectTimeout: DurationMs;
  /** For one request. Default 5 s. */
  readonly requestTimeout?: DurationMs;
  readonly pace?: PaceOverride;
  /** What an operator should know: waiting for the broker, refused logins, lacking permissions. */
  readonly log: (
    level: "info" | "warn",
    message: string,
    facts: Readonly<Record<string, unknown>>,
  ) => void;
}

export interface NatsLink extends CoordinatorLink {
  /** The job's signing keys by whatever came last: a changed join file or a registration. */
  verifyKeys(): readonly VerifyKey[];
}

const PAUSE = durationMs(1000);

export function natsLink(options: NatsLinkOptions): NatsLink {
  const { id, identity, clock, log } = options;
  const timeout = options.requestTimeout ?? durationMs(5000);
  let join = options.join;
  /** The job's keys may have been rotated since the join file was written. */
  let keys: JobPublicKeys = join.jobKeys;
  let broker: Broker | undefined;
  let emit: (event: LinkEvent) => void = () => undefined;
  const closing = new AbortController();

  async function connect(): Promise<void> {
    while (!closing.signal.aborted) {
      const used = join.nats;
      try {
        const fresh = await connectNats({
          role: "agent",
          id,
          name: identity.agent,
          access: accessFromBroker(used),
          clock,
          startTimeout: options.connectTimeout,
          signal: closing.signal,
          ...(options.pace === undefined ? {} : { pace: options.pace }),
          onEvent: (event) => {
            if (event.kind === "waiting" && event.attempts === 1) {
              log("warn", `waiting for the broker: ${event.error.message}`, {});
            } else if (event.kind === "fault") {
              const { kind, ...facts } = event.fault;
              log("warn", `broker: ${kind}`, "error" in facts ? { code: facts.error.code } : facts);
            }
          },
        });
        if (closing.signal.aborted) {
          await fresh.close();
          return;
        }
        broker = fresh;
        fresh.listen((event) => {
          if (broker !== fresh) return;
          if (event.kind === "connected") emit({ kind: "connected" });
          else if (event.kind === "disconnected") emit({ kind: "disconnected" });
          else if (event.kind === "closed") reconnect(fresh);
        });
        await subscribe(fresh.nc);
        emit({ kind: "connected" });
        return;
      } catch (thrown) {
        if (closing.signal.aborted) return;
        const error = EvergrantError.from(thrown, "BROKER_UNAVAILABLE", "connecting");
        log("warn", error.message, { code: error.code });
        await broker?.close();
        broker = undefined;
        await pause(clock, PAUSE, { background: true, signal: closing.signal });
        // The file may name another broker by now.
        join = await options.source.read().catch(() => join);
      }
    }
  }

  /** The library has given the connection up, or the join file names another broker. */
  function reconnect(old: Broker): void {
    if (closing.signal.aborted || broker !== old) return;
    broker = undefined;
    emit({ kind: "disconnected" });
    void old.close().then(connect);
  }

  async function subscribe(nc: NatsConnection): Promise<void> {
    const callback = (error: Error | null, message: Msg) => {
      // An empty message is the removal of the key from the bucket.
      if (error === null && message.data.length > 0) emit({ kind: "bundle", sealed: message.data });
    };
    nc.subscribe(subject.bundle(id), { callback });
    nc.subscribe(subject.push(id, identity.agent), { callback });
    nc.subscribe(subject.notice(id), {
      callback: (error, message) => {
        if (error !== null) return;
        settle(
          () => openNotice(message.data, id, keys.signing),
          (outcome) =>
            emit(
              outcome.ok
                ? { kind: "notice", notice: outcome.value }
                : { kind: "refused", code: outcome.error.code },
            ),
          "MESSAGE_MALFORMED",
          "opening a notice",
        );
      },
    });
    await nc.flush();
  }

  function use(): NatsConnection {
    if (broker?.connected() !== true) {
      throw new EvergrantError("BROKER_UNAVAILABLE", "there is no connection to the broker");
    }
    return broker.nc;
  }

  async function register(request: RegisterRequest): Promise<RegisterAnswer> {
    const before = join;
    join = await options.source.read().catch((thrown: unknown) => {
      const error = EvergrantError.from(thrown, "FILE_UNUSABLE", "reading the join file");
      log("warn", error.message, { code: error.code });
      return before;
    });
    if (!same(join.jobKeys, before.jobKeys)) keys = join.jobKeys;
    if (!same(join.nats, before.nats) && broker !== undefined) {
      log("info", "the join file names another broker or login: connecting anew", {});
      reconnect(broker);
    }
    const body: RegisterBody = {
      v: 1,
      ...id,
      ...identity,
      nonce: toBase64Url(options.random.bytes(32)),
      key: publicPart(options.key.reveal()),
      replyKey: toBase64Url(options.random.bytes(32)),
      ...(request.ticket === undefined ? { token: join.token } : { ticket: request.ticket }),
      receivers: [...request.receivers],
      highest: request.highest,
    };
    const bytes = await sealRegister(body, options.key.reveal(), keys.registration);
    const reply = await ask(subject.agent(id, "register", identity.agent), bytes);
    const answer = await openRegisterReply(reply.data, body, keys.signing);
    const learned = answer.accepted ? answer.body.jobKeys : undefined;
    // The same objects as before, where they say the same: keys are imported once for each.
    if (learned !== undefined && !same(learned, keys)) keys = learned;
    return answer;
  }

  async function ask(to: string, bytes: Uint8Array): Promise<Msg> {
    try {
      return await use().request(to, bytes, { timeout });
    } catch (thrown) {
      throw requestError(thrown);
    }
  }

  return {
    listen(listener) {
      emit = listener;
      void connect();
    },
    register: (request, done) =>
      settle(() => register(request), done, "BROKER_UNAVAILABLE", "registering"),
    report(report, macKey, done) {
      try {
        const to = subject.agent(id, report.type, identity.agent);
        use().publish(to, encodeReport(report, to, macKey));
        done(success(undefined));
      } catch (thrown) {
        done(failure(EvergrantError.from(thrown, "BROKER_UNAVAILABLE", "reporting")));
      }
    },
    close(done) {
      closing.abort();
      emit = () => undefined;
      const last = broker;
      broker = undefined;
      settle(async () => await last?.close(), done, "BROKER_UNAVAILABLE", "disconnecting");
    },
    verifyKeys: () => keys.signing,
  };
}

const same = (a: object, b: object): boolean => JSON.stringify(a) === JSON.stringify(b);

function requestError(thrown: unknown): EvergrantError {
  if (thrown instanceof EvergrantError) return thrown;
  const nobody =
    thrown instanceof TimeoutError ||
    thrown instanceof NoRespondersError ||
    (thrown instanceof RequestError && thrown.isNoResponders());
  if (nobody) return new EvergrantError("NO_COORDINATOR", "nobody answers", { cause: thrown });
  return EvergrantError.from(thrown, "BROKER_UNAVAILABLE", "a request");
}
