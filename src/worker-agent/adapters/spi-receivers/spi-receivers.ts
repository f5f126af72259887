/**
 * Runs receivers of the public SPI behind the machine's callback port. Owns their instances, the
 * private work folder and the environments that they ask for; refuses to know where factories are
 * found and when anything is applied.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EvergrantError } from "../../../protocol/errors.ts";
import { settle } from "../../../protocol/outcome.ts";
import type { Clock, Random } from "../../../protocol/time.ts";
import type { ReceiverSpec } from "../../core/settings.ts";
import type {
  ConsumerEnvironment,
  ConsumerRequest,
  CredentialReceiver,
  CredentialReceiverFactory,
} from "../../ports/credential-receiver.ts";
import type { Receivers } from "../../ports/receivers.ts";

export interface SpiReceiversOptions {
  readonly tenant: string;
  readonly job: string;
  readonly agent: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly stateDir: string | undefined;
  readonly log: (
    level: "info" | "warn",
    message: string,
    facts: Readonly<Record<string, unknown>>,
  ) => void;
  /** Hears of each request that a consumer makes to a receiver. Absent: nobody counts. */
  readonly observe?: ((receiver: ReceiverSpec, request: ConsumerRequest) => void) | undefined;
  /** The factory of a kind. @throws PLUGIN_UNUSABLE */
  readonly load: (kind: string) => Promise<CredentialReceiverFactory>;
  /** The configured options of a receiver, by its id; undefined: none were given. */
  readonly optionsOf: (receiver: string) => unknown;
}

export interface ReceiverEnvironment extends ReceiverSpec {
  readonly environment: ConsumerEnvironment;
}

export interface SpiReceivers extends Receivers {
  /** What the consumers' environment needs, of each receiver that has started. */
  environments(): readonly ReceiverEnvironment[];
}

interface Running extends ReceiverEnvironment {
  readonly receiver: CredentialReceiver;
}

export function spiReceivers(options: SpiReceiversOptions): SpiReceivers {
  const running = new Map<string, Running>();
  let workDir: Promise<string> | undefined;

  async function start(id: string, spec: ReceiverSpec): Promise<void> {
    const factory = await options.load(spec.kind);
    // A receiver that failed to start is made anew: half of it may be there.
    workDir ??= mkdtemp(join(tmpdir(), "evergrant-agent-"));
    const { tenant, job, agent, clock, random, stateDir, observe } = options;
    const parsed = factory.options.safeParse(options.optionsOf(id) ?? {});
    if (!parsed.success) {
      const paths = parsed.error.issues.map((issue) => issue.path.join(".") || "(root)");
      throw new EvergrantError("CONFIG_INVALID", `receiver ${id}: wrong at ${paths.join(", ")}`);
    }
    const receiver = factory.create(parsed.data, {
      tenant,
      job,
      agent,
      clock,
      random,
      stateDir,
      provider: spec.provider,
      workDir: await workDir,
      ...(observe === undefined
        ? {}
        : { observe: (request: ConsumerRequest) => observe(spec, request) }),
      log: (level, message, facts = {}) => options.log(level, message, { receiver: id, ...facts }),
    });
    try {
      running.set(id, { ...spec, receiver, environment: await receiver.start() });
    } catch (thrown) {
      await receiver.stop().catch(() => undefined);
      throw thrown;
    }
  }

  function find(id: string): CredentialReceiver {
    const found = running.get(id);
    if (found === undefined) throw new EvergrantError("RECEIVER_FAILED", `${id} has not started`);
    return found.receiver;
  }

  async function stop(): Promise<void> {
    const all = [...running.values()];
    running.clear();
    await Promise.allSettled(all.map(({ receiver }) => receiver.stop()));
    if (workDir !== undefined) await rm(await workDir, { recursive: true, force: true });
  }

  return {
    start: (id, spec, done) =>
      settle(() => start(id, spec), logged(options, id, done), "RECEIVER_FAILED", `starting ${id}`),
    apply: (id, serving, done) =>
      settle(
        () => find(id).apply(serving),
        logged(options, id, done),
        "RECEIVER_FAILED",
        `applying to ${id}`,
      ),
    withdraw: (id, provider, done) =>
      settle(
        () => find(id).withdraw(provider),
        logged(options, id, done),
        "RECEIVER_FAILED",
        `withdrawing from ${id}`,
      ),
    stop: (done) => settle(stop, done, "RECEIVER_FAILED", "stopping the receivers"),
    environments: () =>
      [...running.values()].map(({ kind, provider, environment }) => ({
        kind,
        provider,
        environment,
      })),
  };
}

/** The core is told the code only; people want the reason. */
function logged(
  { log }: SpiReceiversOptions,
  receiver: string,
  done: Parameters<Receivers["apply"]>[2],
): Parameters<Receivers["apply"]>[2] {
  return (outcome) => {
    if (!outcome.ok) {
      log("warn", outcome.error.message, { receiver, code: outcome.error.code });
    }
    done(outcome);
  };
}
