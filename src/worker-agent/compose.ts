/**
 * Puts one agent together: the only file that knows core, driver and every adapter. `startAgent` and
 * `joinJob` differ in their receivers alone.
 */
import { hostname } from "node:os";
import { toBase64Url } from "../protocol/encoding.ts";
import { EvergrantError } from "../protocol/errors.ts";
import type { JoinFile } from "../protocol/join.ts";
import { createSigningKey } from "../protocol/keys.ts";
import type { AgentId, JobId } from "../protocol/names.ts";
import { sameJob } from "../protocol/names.ts";
import type { Done } from "../protocol/outcome.ts";
import { Secret } from "../protocol/secret.ts";
import {
  between,
  type Clock,
  type DurationMs,
  durationMs,
  type Random,
  seconds,
} from "../protocol/time.ts";
import type { Logger } from "../runtime/logger.ts";
import { fileStore, memoryStore } from "./adapters/file-store/file-store.ts";
import { awaitJoin, fixedJoin, joinFileAt } from "./adapters/join-source/join-source.ts";
import { joseOpener } from "./adapters/jose-opener/jose-opener.ts";
import { natsLink } from "./adapters/nats-link/nats-link.ts";
import { paceOf, type TimingsConfig, timingsOf } from "./config.ts";
import type { News } from "./core/events.ts";
import type { AgentHealth } from "./core/health.ts";
import type { ConventionSpec, ReceiverSpec } from "./core/settings.ts";
import { logNews } from "./news-log.ts";
import type { AgentRecord } from "./ports/agent-store.ts";
import type { Receivers } from "./ports/receivers.ts";
import { driveAgent } from "./runtime/agent-driver.ts";

/** Where the join file is: a path (read again at each registration), or the file's content. */
export type JoinFrom = { readonly joinFile: string } | { readonly join: JoinFile };

export interface ComposeOptions<Made extends Receivers> {
  readonly from: JoinFrom;
  readonly name: string | undefined;
  readonly stateDir: string | undefined;
  readonly timings: TimingsConfig;
  /** How long a missing join file is waited for. */
  readonly startTimeout: DurationMs;
  readonly specs: readonly ReceiverSpec[];
  readonly convention: readonly ConventionSpec[];
  readonly providers: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly receivers: (who: JobId & AgentId, logger: Logger) => Made;
  /** Default: `joseOpener`. A benchmark tells the cost of opening from all else by another one. */
  readonly opener?: typeof joseOpener;
}

export interface Composed<Made extends Receivers> extends JobId, AgentId {
  readonly receivers: Made;
  readonly logger: Logger;
  health(): AgentHealth;
  demand(provider: string, rejected: number): void;
  /** Returns what takes the listener away again. What it throws is logged. */
  listen(listener: (news: News) => void): () => void;
  /** Begins to connect, register and serve. */
  start(): void;
  /** @throws START_TIMEOUT with the reasons; at once when it is closed */
  ready(timeout: DurationMs): Promise<void>;
  /** The defect that has stopped it, if one has. */
  defect(): EvergrantError | undefined;
  close(): Promise<void>;
}

/** @throws START_TIMEOUT (no usable join file), FILE_UNUSABLE (the state folder) */
export async function composeAgent<Made extends Receivers>(
  options: ComposeOptions<Made>,
): Promise<Composed<Made>> {
  const { clock, random, from, timings } = options;
  const source = "joinFile" in from ? joinFileAt(from.joinFile) : fixedJoin(from.join);
  const join = await awaitJoin(source, clock, options.startTimeout, (why) =>
    options.logger.info({ code: why.code }, `waiting for the join file: ${why.message}`),
  );
  const id: JobId = { tenant: join.tenant, job: join.job };
  const store = options.stateDir === undefined ? memoryStore : fileStore(options.stateDir, random);
  const record = await recordOf(options, id, store);
  const { agent } = record;
  const instance = toBase64Url(random.bytes(12));
  const logger = options.logger.child({ ...id, agent, instance });
  const receivers = options.receivers({ ...id, agent, instance }, logger);
  const link = natsLink({
    id,
    identity: { agent, instance },
    key: record.key,
    join,
    source,
    clock,
    random,
    connectTimeout: CONNECT_TIMEOUT,
    pace: paceOf(timings),
    ...(timings.requestTimeoutMs === undefined
      ? {}
      : { requestTimeout: durationMs(timings.requestTimeoutMs) }),
    log: (level, message, facts) => logger[level](facts, message),
  });

  const listeners = new Set<(news: News) => void>([(news) => logNews(logger, news)]);
  const waiting = new Set<() => void>();
  let defect: EvergrantError | undefined;
  const tell = (news: News): void => {
    for (const listener of [...listeners]) {
      try {
        listener(news);
      } catch (thrown) {
        // A consumer's listener must not stop the agent that feeds it.
        logger.error({ err: thrown }, `a listener to ${news.kind} has thrown`);
      }
    }
  };
  const driver = driveAgent({
    ...id,
    key: record.key,
    settings: {
      agent,
      instance,
      receivers: options.specs,
      convention: options.convention,
      providers: options.providers,
      persistent: options.stateDir !== undefined,
      ticket: record.ticket,
      highest: record.highest,
      timings: timingsOf(timings),
    },
    ports: {
      link,
      opener: (options.opener ?? joseOpener)(id, link.verifyKeys),
      receivers,
      store,
      clock,
    },
    tell,
    fault: (thrown) => {
      defect = EvergrantError.from(thrown, "INTERNAL", "the agent");
      logger.error(
        { err: thrown },
        "the agent has stopped at a defect; what it serves ends in time",
      );
    },
  });

  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    driver.leave();
    // A listener that closes is inside of a step: the goodbye goes out after it.
    await Promise.resolve();
    for (const leave of [...waiting]) leave();
    await finished((done) => link.close(done)).catch(() => undefined);
    await finished((done) => receivers.stop(done)).catch(() => undefined);
  };
  return {
    ...id,
    agent,
    instance,
    receivers,
    logger,
    health: () => driver.health(),
    demand: (provider, rejected) => driver.demand(provider, rejected),
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    start: () => driver.start(),
    ready: (timeout) => awaitReady(() => driver.health(), listeners, waiting, clock, timeout),
    defect: () => defect,
    close() {
      closing ??= close();
      return closing;
    },
  };
}

/** For one round of attempts at the broker; then the join file is read again and the next one begins. */
const CONNECT_TIMEOUT = seconds(10);

/** What the agent is: from its state folder, else new. A record of another job is replaced. */
async function recordOf(
  { name, random, stateDir, logger }: ComposeOptions<Receivers>,
  id: JobId,
  store: ReturnType<typeof fileStore>,
): Promise<AgentRecord> {
  const kept = await finished<AgentRecord | undefined>((done) => store.restore(done));
  if (kept !== undefined && sameJob(kept, id)) {
    if (name === undefined || name === kept.agent) return kept;
    // The ticket is the old name's.
    return { ...kept, agent: name, ticket: undefined };
  }
  if (kept !== undefined) {
    logger.warn({ stateDir }, "the state folder holds another job's agent, which is replaced");
  }
  const record: AgentRecord = {
    ...id,
    agent: name ?? defaultName(random),
    key: new Secret(await createSigningKey(random)),
    ticket: undefined,
    highest: { term: 0, generation: 0 },
  };
  await finished<void>((done) => store.persist(record, done));
  return record;
}

/** The host's name, cut and cleaned, and enough chance to tell two agents on it apart. */
export function defaultName(random: Random): string {
  const host =
    hostname()
      .split(".")[0]
      ?.replace(/[^A-Za-z0-9_-]/g, "-")
      .slice(0, 50) || "agent";
  return `${host}-${Buffer.from(random.bytes(4)).toString("hex")}`;
}

function finished<T>(work: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) =>
    work((outcome) => (outcome.ok ? resolve(outcome.value) : reject(outcome.error))),
  );
}

/** Waits for readiness; `leave` is kept in `waiting` so that `close` can end the wait. */
function awaitReady(
  health: () => AgentHealth,
  listeners: Set<(news: News) => void>,
  waiting: Set<() => void>,
  clock: Clock,
  timeout: DurationMs,
): Promise<void> {
  if (health().ready) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const began = clock.now().mono;
    const listener = (): void => {
      if (!health().ready) return;
      done();
      resolve();
    };
    const leave = (): void => {
      done();
      const after = Math.round(between(began, clock.now().mono)) / 1000;
      const reasons = health().reasons.join("; ");
      reject(new EvergrantError("START_TIMEOUT", `not ready after ${after} s: ${reasons}`));
    };
    const cancel = clock.timer(timeout, leave);
    const done = (): void => {
      cancel();
      listeners.delete(listener);
      waiting.delete(leave);
    };
    listeners.add(listener);
    waiting.add(leave);
  });
}
