/**
 * The worker agent as a whole: joins a job, serves its credentials through receivers, and says how
 * it is. What `evergrant agent` runs; usable from TypeScript as it is.
 */
import { resolve } from "node:path";
import { EvergrantError } from "../protocol/errors.ts";
import type { JoinFile } from "../protocol/join.ts";
import { type Clock, durationMs, type Random } from "../protocol/time.ts";
import { type Logger, silentLogger } from "../runtime/logger.ts";
import { type StatusServer, startStatusServer } from "../runtime/status-server.ts";
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import { type ReceiverEnvironment, spiReceivers } from "./adapters/spi-receivers/spi-receivers.ts";
import { composeAgent, type JoinFrom } from "./compose.ts";
import { type AgentConfigInput, checkReceiverOptions, parseAgentConfig } from "./config.ts";
import type { AgentHealth } from "./core/health.ts";
import { type ConventionSpec, receiverIdOf } from "./core/settings.ts";
import { type AgentMetrics, agentMetrics } from "./metrics.ts";
import { BUILT_IN_RECEIVERS } from "./receivers/built-in.ts";
import { loadReceiverFactory } from "./receivers/load-receiver.ts";

export interface StartAgentOptions {
  /** Path of the join file. Default: `EVERGRANT_JOIN_FILE`. */
  readonly joinFile?: string;
  /** The join file's content, in place of a path. It is then never read again. */
  readonly join?: JoinFile;
  /** As in agent.yaml. Default: every provider by its convention. */
  readonly config?: AgentConfigInput;
  /** Where relative paths and receiver packages are looked up. Default: the working directory. */
  readonly configDir?: string;
  /** How long a missing join file is waited for, in milliseconds. Default 60,000. */
  readonly startTimeoutMs?: number;
  /** Default: silent. */
  readonly logger?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface Agent {
  readonly tenant: string;
  readonly job: string;
  readonly agent: string;
  readonly instance: string;
  /** Where /healthz, /readyz and /metrics are; undefined when the configuration has no `status`. */
  readonly statusUrl: string | undefined;
  /** `defaultProvider` of the configuration. */
  readonly defaultProvider: string | undefined;
  health(): AgentHealth;
  /** Settles once every provider is applied. @throws START_TIMEOUT with the reasons */
  ready(timeoutMs: number): Promise<void>;
  /** What consumers' environments need, of each receiver that has started. */
  environments(): readonly ReceiverEnvironment[];
  /** A consumer's credential was rejected: asks for a fresh one, once per generation. */
  demand(provider: string, rejectedGeneration: number): void;
  /** Stops serving and leaves. What consumers were given stays valid. Calling it twice is fine. */
  close(): Promise<void>;
}

/**
 * Starts an agent. It then connects, registers and serves by itself, however long that takes;
 * `ready` says when.
 * @throws CONFIG_INVALID, START_TIMEOUT (no join file in time), FILE_UNUSABLE, SERVER_START_FAILED
 */
export async function startAgent(options: StartAgentOptions = {}): Promise<Agent> {
  const { clock = systemClock, random = systemRandom } = options;
  const configDir = resolve(options.configDir ?? ".");
  const config = parseAgentConfig(options.config);
  const load = (kind: string) => loadReceiverFactory(kind, configDir);
  await checkReceiverOptions(config, load);

  const given = new Map<string, unknown>();
  for (const { kind, provider, ...own } of config.receivers ?? []) {
    given.set(
      receiverIdOf({ kind, provider }, (id) => given.has(id)),
      own,
    );
  }
  let metrics: AgentMetrics | undefined;
  const stateDir = config.stateDir === undefined ? undefined : resolve(configDir, config.stateDir);
  const composed = await composeAgent({
    from: joinFrom(options),
    name: config.name,
    stateDir,
    timings: config.timings,
    startTimeout: durationMs(options.startTimeoutMs ?? 60_000),
    specs: (config.receivers ?? []).map(({ kind, provider }) => ({ kind, provider })),
    convention: config.receivers === undefined ? conventions() : [],
    providers: config.providers,
    clock,
    random,
    logger: options.logger ?? silentLogger,
    receivers: ({ tenant, job, agent }, logger) =>
      spiReceivers({
        tenant,
        job,
        agent,
        clock,
        random,
        stateDir,
        log: (level, message, facts) => logger[level](facts, message),
        observe: (receiver, request) => metrics?.observe(receiver, request),
        load,
        optionsOf: (receiver) => given.get(receiver),
      }),
  });

  let status: StatusServer | undefined;
  if (config.status !== undefined) {
    metrics = agentMetrics(composed.health);
    composed.listen(metrics.hear);
    try {
      status = await startStatusServer({
        ...config.status,
        metrics: metrics.registry,
        health: () => {
          const defect = composed.defect();
          return {
            ok: defect === undefined,
            reasons: defect === undefined ? [] : [defect.message],
          };
        },
        ready: () => {
          const { ready, ...facts } = composed.health();
          return { ok: ready && composed.defect() === undefined, ...facts };
        },
      });
    } catch (thrown) {
      await composed.close();
      throw thrown;
    }
  }
  composed.start();
  const { tenant, job, agent, instance } = composed;
  return {
    tenant,
    job,
    agent,
    instance,
    statusUrl: status?.url,
    defaultProvider: config.defaultProvider,
    health: composed.health,
    ready: (timeoutMs) => composed.ready(durationMs(timeoutMs)),
    environments: () => composed.receivers.environments(),
    demand: composed.demand,
    async close() {
      await composed.close();
      await status?.close();
    },
  };
}

/** @throws CONFIG_INVALID when there is no join file to look for. */
export function joinFrom(options: Pick<StartAgentOptions, "join" | "joinFile">): JoinFrom {
  if (options.join !== undefined) return { join: options.join };
  const joinFile = options.joinFile ?? process.env["EVERGRANT_JOIN_FILE"];
  if (joinFile !== undefined && joinFile !== "") return { joinFile: resolve(joinFile) };
  throw new EvergrantError(
    "CONFIG_INVALID",
    "no join file: name one (--join FILE) or set EVERGRANT_JOIN_FILE",
  );
}

const conventions = (): readonly ConventionSpec[] =>
  [...BUILT_IN_RECEIVERS].flatMap(([kind, { conventionFor }]) =>
    conventionFor === undefined ? [] : [{ kind, serves: [conventionFor] }],
  );
