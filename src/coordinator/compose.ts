/** The composition root of a coordinator: the only file that knows all adapters. It decides nothing. */
import { resolve } from "node:path";
import { pause } from "../nats/bounded.ts";
import type { Broker } from "../nats/connect.ts";
import { connectNats } from "../nats/connect.ts";
import { type BucketKind, type OpenBucket, openBucket } from "../nats/nats-kv.ts";
import { toBase64Url } from "../protocol/encoding.ts";
import { EvergrantError } from "../protocol/errors.ts";
import { currentSet, newGroupKid, publicPart } from "../protocol/keys.ts";
import type { JobId } from "../protocol/names.ts";
import type { Done } from "../protocol/outcome.ts";
import { jobKey } from "../protocol/subjects.ts";
import {
  between,
  type Clock,
  type DurationMs,
  durationMs,
  type Random,
  seconds,
} from "../protocol/time.ts";
import type { Log } from "../runtime/log.ts";
import { openBullQueue } from "./adapters/bullmq-queue/bull-queue.ts";
import { inspectRedis } from "./adapters/bullmq-queue/inspect-redis.ts";
import { joseSealer } from "./adapters/jose-sealer.ts";
import { natsAudit } from "./adapters/nats-audit/nats-audit.ts";
import { natsLink } from "./adapters/nats-link/nats-link.ts";
import { codedRegister } from "./adapters/nats-register/coded-register.ts";
import { leaseCodec } from "./adapters/nats-register/lease-codec.ts";
import { natsRegister } from "./adapters/nats-register/nats-register.ts";
import { sealedVersion } from "./adapters/nats-register/sealed-version.ts";
import { stateCodec } from "./adapters/nats-register/state-codec.ts";
import { redisEndpoint } from "./adapters/redis-connection.ts";
import { type JobConfig, resolveProviders, timingOf } from "./config.ts";
import type { CoreSettings } from "./core/settings.ts";
import { loadJobKeys, loadOperatorFile } from "./job-files.ts";
import { keepJoinFile } from "./join-file-keeper.ts";
import { startProviders } from "./providers-start.ts";
import type { CoordinatorPorts } from "./runtime/driver.ts";
import { openStores } from "./stores.ts";

export interface ComposeOptions {
  readonly config: JobConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly standby: boolean;
  readonly startTimeout: DurationMs;
  /** Defaults: files in the run folder. */
  readonly jobKeyPath?: string | undefined;
  readonly joinFilePath?: string | undefined;
  readonly operatorFilePath?: string | undefined;
}

export interface Composed {
  readonly id: JobId;
  readonly runDir: string;
  readonly joinFile: string;
  readonly operatorFile: string;
  readonly settings: CoreSettings;
  readonly ports: CoordinatorPorts;
  /** Closes everything, in the order that lets nothing new in. Never rejects. */
  close(): Promise<void>;
}

/**
 * Opens all that a coordinator needs, and leaves nothing open when it fails.
 * @throws CONFIG_INVALID, FILE_UNUSABLE, SERVER_START_FAILED, START_TIMEOUT, BROKER_UNFIT, STORE_UNAVAILABLE
 */
export async function compose(options: ComposeOptions): Promise<Composed> {
  const { config, clock, random, log } = options;
  const id: JobId = { tenant: config.tenant, job: config.job };
  const runDir = resolve(config.baseDir, config.runDir);
  const at = (given: string | undefined, name: string): string =>
    resolve(given ?? `${runDir}/${name}`);
  const joinFile = at(options.joinFilePath, "join.json");
  const operatorFile = at(options.operatorFilePath, "operator.json");
  const closers: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) {
      try {
        await closer();
      } catch (thrown) {
        log("warn", "closing failed", { err: thrown });
      }
    }
  };
  try {
    const resolved = await resolveProviders(config);
    const keys = await loadJobKeys(
      at(options.jobKeyPath, "job-key.json"),
      id,
      clock.now().wall,
      random,
    );
    const stores = await openStores(config, { ...options, runDir });
    const { embedded } = stores;
    if (embedded !== undefined) closers.push(() => embedded.stop());
    const operator = await loadOperatorFile(operatorFile, keys, stores.forOperators, random);
    const holder = toBase64Url(random.bytes(12));
    const broker = await connectNats({
      role: "coordinator",
      id,
      name: holder,
      access: stores.nats,
      clock,
      startTimeout: options.startTimeout,
      pace: stores.pace,
      onEvent: (event) => {
        if (event.kind === "waiting") {
          log("warn", "waiting for NATS", { attempts: event.attempts, error: event.error.message });
        } else if (event.kind === "fault") log("warn", "NATS fault", { fault: event.fault.kind });
      },
    });
    closers.push(() => broker.close());
    const ports = await openPorts({
      options,
      broker,
      stores,
      keys,
      operators: [publicPart(operator.key), ...config.operators.map(({ key }) => key)],
    });
    closers.push(() => settled((done) => ports.audit.close(done)));
    closers.push(() => settled((done) => ports.queue.close(done)));
    closers.push(() => settled((done) => ports.link.close(done)));
    const started = startProviders(resolved, config, { clock, random, runDir, log });
    for (const issuer of started.issuers.values()) {
      closers.push(() => settled((done) => issuer.close(done)));
    }
    const stopKeeping = await keepJoinFile({
      path: joinFile,
      keys,
      nats: stores.forAgents,
      ttl: durationMs(config.join.ttlSec * 1000),
      maxAgents: config.join.maxAgents,
      clock,
      random,
      log,
    });
    closers.push(stopKeeping);
    const set = currentSet(keys.reveal());
    return {
      id,
      runDir,
      joinFile,
      operatorFile,
      settings: {
        id,
        holder,
        groupSet: set.stateKey.kid,
        newGroupKid: newGroupKid(set, random),
        standby: options.standby,
        ratio: config.renewal.ratio,
        timing: timingOf(config.timing),
        providers: started.settings,
      },
      ports: { ...ports, issuers: started.issuers, log },
      close,
    };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

interface PortOptions {
  readonly options: ComposeOptions;
  readonly broker: Broker;
  readonly stores: Awaited<ReturnType<typeof openStores>>;
  readonly keys: Awaited<ReturnType<typeof loadJobKeys>>;
  readonly operators: Parameters<typeof natsLink>[0]["operators"];
}

async function openPorts({
  options,
  broker,
  stores,
  keys,
  operators,
}: PortOptions): Promise<Omit<CoordinatorPorts, "issuers" | "log">> {
  const { config, clock, random, log } = options;
  const id: JobId = { tenant: config.tenant, job: config.job };
  const kv = stores.replicas === undefined ? {} : { replicas: stores.replicas };
  const began = clock.now().mono;
  // A server that has only just come up may be slow to answer, or still be electing a leader.
  const openPatiently = async (kind: BucketKind): Promise<OpenBucket> => {
    for (;;) {
      try {
        return await openBucket(broker, kind, kv);
      } catch (thrown) {
        const error = EvergrantError.from(thrown, "STORE_UNAVAILABLE", `opening ${kind}`);
        const spent = between(began, clock.now().mono);
        if (error.code !== "STORE_UNAVAILABLE" || spent >= options.startTimeout) throw error;
        log("warn", "waiting for JetStream", { bucket: kind, error: error.message });
        await pause(clock, seconds(1));
      }
    }
  };
  const [lease, state, bundle] = await Promise.all([
    openPatiently("lease"),
    openPatiently("state"),
    openPatiently("bundle"),
  ]);
  const redis = redisEndpoint(stores.redis);
  // Redis may be away at the start: renewals then run on the local watchdog, and it is said.
  inspectRedis(redis, clock).then(
    (found) => {
      for (const warning of found.warnings) log("warn", warning, { redis: redis.address });
    },
    (error: EvergrantError) => log("warn", error.message, { redis: redis.address }),
  );
  const key = jobKey(id);
  return {
    lease: codedRegister(natsRegister(lease, key), leaseCodec),
    state: codedRegister(natsRegister(state, key), stateCodec(keys)),
    bundle: natsRegister(bundle, key),
    versionOf: sealedVersion,
    sealer: joseSealer(keys),
    queue: openBullQueue({
      ...id,
      redis,
      clock,
      onProblem: (error) => log("warn", error.message, { code: error.code }),
    }),
    link: natsLink({
      broker,
      id,
      keys,
      operators,
      onFault: (error) => log("error", error.message, { code: error.code }),
    }),
    audit: natsAudit({ broker, random, ...kv }),
  };
}

/** Waits for a `done`, whatever its outcome. */
function settled(work: (done: Done<void>) => void): Promise<void> {
  return new Promise((resolvePromise) => {
    work(() => resolvePromise());
  });
}
