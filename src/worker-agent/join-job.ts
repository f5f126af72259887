/**
 * The in-process agent: a TypeScript executor joins its job and has the credentials at hand, with no
 * receiver, no port and no file in between. Several may live in one process, each with one
 * connection and one timer.
 */
import { EventEmitter } from "node:events";
import type { Credential } from "../protocol/credential.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { JoinFile } from "../protocol/join.ts";
import { type Clock, durationMs, type Random } from "../protocol/time.ts";
import { type Logger, silentLogger } from "../runtime/logger.ts";
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import type { InProcessReceivers } from "./adapters/in-process/in-process-receivers.ts";
import { IN_PROCESS, inProcessReceivers } from "./adapters/in-process/in-process-receivers.ts";
import { joinFrom } from "./agent.ts";
import { type Composed, composeAgent } from "./compose.ts";
import { parseAgentConfig, type TimingsConfig } from "./config.ts";
import type { News } from "./core/events.ts";
import type { AgentHealth } from "./core/health.ts";
import { type CredentialStream, credentialStreams } from "./credential-stream.ts";

export interface JoinJobOptions {
  /** Path of the join file, read again at each registration. Default: `EVERGRANT_JOIN_FILE`. */
  readonly joinFile?: string;
  /** The join file's content, in place of a path. */
  readonly join?: JoinFile;
  /** Not ready before these are there, besides those of the bundle. */
  readonly providers?: readonly string[];
  /** Default: the host's name and a random suffix. */
  readonly name?: string;
  /** Keeps the agent's own key and ticket over restarts. Default: nothing is kept. */
  readonly stateDir?: string;
  /** How long a missing join file is waited for, in milliseconds. Default 60,000. */
  readonly startTimeoutMs?: number;
  /** As `timings` in agent.yaml. */
  readonly timings?: TimingsConfig;
  /** Default: silent. */
  readonly logger?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** Listeners are called in turn, synchronously; what they throw is logged and dropped. */
export interface JobEvents {
  /** From now on `current` answers with it. */
  credential: [credential: Credential];
  /** Nothing is served for this provider any more. */
  expired: [{ readonly provider: string; readonly generation: number }];
  withdrawn: [{ readonly provider: string; readonly generation: number }];
  /** A message was dropped: forged, replayed, malformed, … */
  refused: [{ readonly code: ErrorCode }];
  joined: [{ readonly term: number }];
  /** A registration failed. `final`: there will be no other. */
  "not-joined": [{ readonly code: ErrorCode; readonly final: boolean }];
  /** The job has ended: what is held is served until it expires. */
  ended: [];
}

export interface JobMembership {
  readonly tenant: string;
  readonly job: string;
  readonly agent: string;
  readonly instance: string;
  readonly events: EventEmitter<JobEvents>;
  /** The provider's credential; undefined when there is none. Never an expired one (I2). */
  current(provider: string): Credential | undefined;
  /**
   * What is served now, then each that follows. A consumer that is slow finds the newest of each
   * provider and none of those in between. Ends with `close`.
   */
  credentials(): CredentialStream;
  /** This generation was rejected by its service: asks for a fresh one, once for each generation. */
  demand(provider: string, rejectedGeneration: number): void;
  /** Settles once every provider is there. @throws START_TIMEOUT with the reasons */
  ready(timeoutMs: number): Promise<void>;
  health(): AgentHealth;
  close(): Promise<void>;
}

/**
 * Joins a job. Settles once the join file is read; connecting and registering then go on by
 * themselves, and `ready` says when credentials are there.
 * @throws CONFIG_INVALID, START_TIMEOUT (no join file in time), FILE_UNUSABLE
 */
export async function joinJob(options: JoinJobOptions = {}): Promise<JobMembership> {
  const { clock = systemClock, random = systemRandom } = options;
  const config = parseAgentConfig({
    providers: [...(options.providers ?? [])],
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.timings === undefined ? {} : { timings: options.timings }),
  });
  const events = new EventEmitter<JobEvents>();
  const streams = credentialStreams(
    (credential) => composed.receivers.current(credential.provider) === credential,
  );
  const composed: Composed<InProcessReceivers> = await composeAgent({
    from: joinFrom(options),
    name: config.name,
    stateDir: options.stateDir,
    timings: config.timings,
    startTimeout: durationMs(options.startTimeoutMs ?? 60_000),
    specs: [],
    convention: [{ kind: IN_PROCESS, serves: ["*"] }],
    providers: config.providers,
    clock,
    random,
    logger: options.logger ?? silentLogger,
    receivers: (_who, logger) =>
      inProcessReceivers(clock, (credential) => {
        streams.push(credential);
        try {
          events.emit("credential", credential);
        } catch (thrown) {
          logger.error({ err: thrown }, "a listener to credential has thrown");
        }
      }),
  });
  composed.listen((news) => forward(events, news));
  composed.start();
  const { tenant, job, agent, instance, receivers } = composed;
  return {
    tenant,
    job,
    agent,
    instance,
    events,
    current: receivers.current,
    credentials: () => streams.open(receivers.all()),
    demand: composed.demand,
    ready: (timeoutMs) => composed.ready(durationMs(timeoutMs)),
    health: composed.health,
    async close() {
      await composed.close();
      streams.close();
      events.removeAllListeners();
    },
  };
}

function forward(events: EventEmitter<JobEvents>, news: News): void {
  switch (news.kind) {
    case "expired":
    case "withdrawn": {
      const { provider, generation } = news;
      events.emit(news.kind, { provider, generation });
      return;
    }
    case "refused":
      events.emit("refused", { code: news.code });
      return;
    case "joined":
      events.emit("joined", { term: news.term });
      return;
    case "not-joined":
      events.emit("not-joined", { code: news.code, final: news.final });
      return;
    case "ended":
      events.emit("ended");
      return;
    default:
  }
}
