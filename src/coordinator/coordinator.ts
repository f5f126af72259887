/**
 * The coordinator as a job driver uses it from TypeScript: `launchCoordinator` starts one inside
 * this process and gives a handle on it.
 */
import type { JobStatus } from "../protocol/control.ts";
import { EvergrantError } from "../protocol/errors.ts";
import type { JobId } from "../protocol/names.ts";
import { type Clock, type DurationMs, type Random, seconds } from "../protocol/time.ts";
import { type Log, logInto } from "../runtime/log.ts";
import { createLogger, type Logger } from "../runtime/logger.ts";
import { type StatusServer, startStatusServer } from "../runtime/status-server.ts";
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import { type Composed, compose } from "./compose.ts";
import { type JobConfig, readJobConfig } from "./config.ts";
import { viewStatus } from "./core/step.ts";
import { type Driver, startDriver } from "./runtime/driver.ts";
import { coordinatorMetrics } from "./runtime/metrics.ts";

export interface LaunchOptions {
  /** Default: `job-key.json` in the run folder. The first coordinator makes it. */
  readonly jobKeyPath?: string;
  /** Default: `join.json` in the run folder. */
  readonly joinFilePath?: string;
  /** Default: `operator.json` in the run folder. */
  readonly operatorFilePath?: string;
  /** Ends when it finds the job ended, where any other coordinator would begin it anew. Default false. */
  readonly standby?: boolean;
  /** How long NATS and the embedded servers may take to be there. Default 30 s. */
  readonly startTimeout?: DurationMs;
  /** Default: JSON lines on standard error, at the configuration's level. */
  readonly logger?: Logger;
  /** Default: the machine's. */
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface CoordinatorHandle {
  readonly id: JobId;
  readonly runDir: string;
  /** What executors are handed. It is rewritten before its token ends. */
  readonly joinFile: string;
  /** What operators are handed. */
  readonly operatorFile: string;
  /** Of `/healthz`, `/readyz` and `/metrics`. */
  readonly statusUrl: string;
  /**
   * Resolves once it leads and every provider's credential is obtained and published.
   * @throws START_TIMEOUT naming what is missing, after `timeout` (default 60 s)
   */
  ready(timeout?: DurationMs): Promise<void>;
  status(): JobStatus;
  /** Stops this coordinator and keeps everything: the next one takes over without an issuer call. */
  handOver(): Promise<void>;
  /** Ends the job: cancels what can be cancelled, says goodbye, removes what is stored. */
  end(): Promise<void>;
  /** Resolves when it has stopped, however that came; rejects with INTERNAL after a defect. */
  readonly finished: Promise<"handed-over" | "ended">;
}

/** How often `ready` looks. */
const LOOK = 50 as DurationMs;

/**
 * Starts a coordinator.
 * @throws CONFIG_INVALID, FILE_UNUSABLE, PLUGIN_UNUSABLE, SERVER_START_FAILED, START_TIMEOUT,
 * BROKER_UNFIT, STORE_UNAVAILABLE; nothing is then left running
 */
export async function launchCoordinator(
  config: JobConfig | { readonly file: string },
  options: LaunchOptions = {},
): Promise<CoordinatorHandle> {
  const { clock = systemClock, random = systemRandom } = options;
  const job = "file" in config ? await readJobConfig(config.file) : config;
  const { tenant, job: name } = job;
  const logger = options.logger ?? createLogger({ name: "coordinator", level: job.log.level });
  const log = logInto(logger.child({ tenant, job: name }));
  const composed = await compose({
    config: job,
    clock,
    random,
    log,
    standby: options.standby ?? false,
    startTimeout: options.startTimeout ?? seconds(30),
    jobKeyPath: options.jobKeyPath,
    joinFilePath: options.joinFilePath,
    operatorFilePath: options.operatorFilePath,
  });
  return await run(composed, job, { clock, log });
}

async function run(
  composed: Composed,
  job: JobConfig,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<CoordinatorHandle> {
  let driver: Driver | undefined;
  let server: StatusServer | undefined;
  let resolveFinished: (how: "handed-over" | "ended") => void = () => undefined;
  let rejectFinished: (error: EvergrantError) => void = () => undefined;
  const finished = new Promise<"handed-over" | "ended">((resolve, reject) => {
    resolveFinished = resolve;
    rejectFinished = reject;
  });
  // Whoever launched it may not look at it: a defect must not become an unhandled rejection.
  finished.catch(() => undefined);

  const closeAll = async (): Promise<void> => {
    driver?.stop();
    await server?.close();
    await composed.close();
  };
  const status = (): JobStatus => {
    if (driver === undefined) throw new RangeError("the coordinator has not started");
    return viewStatus(driver.core(), clock.now());
  };
  driver = startDriver({
    settings: composed.settings,
    ports: composed.ports,
    clock,
    finished(how) {
      // The effect that brought us here is still being performed: close after it.
      void Promise.resolve()
        .then(closeAll)
        .then(() => {
          if (typeof how === "string") {
            log("info", `coordinator ${how}`);
            resolveFinished(how);
            return;
          }
          log("error", "the coordinator has a defect and was stopped", {
            error: String(how.fault),
          });
          rejectFinished(
            new EvergrantError("INTERNAL", "the coordinator was stopped by a defect", {
              cause: how.fault,
            }),
          );
        });
    },
  });
  try {
    server = await startStatusServer({
      ...job.status,
      // The core works, or the process has ended: there is nothing in between.
      health: () => ({ ok: true, reasons: [] }),
      ready: () => {
        const { ready, reasons, phase, term } = status();
        return { ok: ready, reasons, phase, term };
      },
      metrics: coordinatorMetrics(status),
    });
  } catch (thrown) {
    await closeAll();
    throw thrown;
  }
  const { url } = server;
  log("info", "coordinator started", {
    statusUrl: url,
    joinFile: composed.joinFile,
    operatorFile: composed.operatorFile,
  });
  return {
    id: composed.id,
    runDir: composed.runDir,
    joinFile: composed.joinFile,
    operatorFile: composed.operatorFile,
    statusUrl: url,
    status,
    ready: (timeout = seconds(60)) => untilReady(status, clock, timeout, finished),
    async handOver() {
      driver.emit({ kind: "hand-over" });
      await finished;
    },
    async end() {
      driver.emit({ kind: "end" });
      await finished;
    },
    finished,
  };
}

function untilReady(
  status: () => JobStatus,
  clock: Clock,
  timeout: DurationMs,
  finished: Promise<unknown>,
): Promise<void> {
  const ready = new Promise<void>((resolve, reject) => {
    const start = clock.now().mono;
    const look = (): void => {
      const { ready: isReady, reasons } = status();
      if (isReady) resolve();
      else if (clock.now().mono - start >= timeout) {
        reject(
          new EvergrantError(
            "START_TIMEOUT",
            `not ready after ${timeout / 1000} s: ${reasons.join("; ")}`,
          ),
        );
      } else clock.timer(LOOK, look);
    };
    look();
  });
  const ended = finished.then(() => {
    throw new EvergrantError("START_TIMEOUT", "the coordinator stopped before it was ready");
  });
  return Promise.race([ready, ended]);
}
