/**
 * One connection to the broker for one role of one job: connects with patience, tells what happens
 * to it, and ends in bounded time. Owns the connection; refuses to know what is said over it.
 */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { EvergrantError } from "../protocol/errors.ts";
import type { JobId } from "../protocol/names.ts";
import type { Role } from "../protocol/permissions.ts";
import { between, type Clock, type DurationMs, durationMs, seconds } from "../protocol/time.ts";
import { authenticatorOf, type NatsAccess, tlsOptionsOf } from "./access.ts";
import { bounded, pause } from "./bounded.ts";
import { type BrokerEvent, connectError, eventOf } from "./broker-events.ts";
import { checkFitness } from "./fitness.ts";
import { type PaceOverride, roleOptions } from "./role-options.ts";

export interface ConnectNatsOptions {
  readonly role: Role;
  readonly id: JobId;
  /** The client's own name: the agent's, or what tells two coordinators or operators apart. */
  readonly name: string;
  readonly access: NatsAccess;
  readonly clock: Clock;
  /** How long the first connect may take. Default 30 s. */
  readonly startTimeout?: DurationMs;
  /** Pause between two attempts of the first connect. Default 1 s. */
  readonly retryPause?: DurationMs;
  /** Hears everything from the first attempt on. What it throws is dropped. */
  readonly onEvent?: (event: BrokerEvent) => void;
  readonly pace?: PaceOverride;
  /** Ends the first connect, and leaves no timer of its own. Nothing after it. */
  readonly signal?: AbortSignal;
}

export interface Broker {
  readonly nc: NatsConnection;
  readonly clock: Clock;
  /** False from the loss of the connection until it is there again. What is published then is lost. */
  connected(): boolean;
  /** Adds a listener; what it throws is dropped. Returns what takes it away again. */
  listen(listener: (event: BrokerEvent) => void): () => void;
  /** Says what is still to be said and ends the connection, within `limit` (default 3 s). Never throws. */
  close(limit?: DurationMs): Promise<void>;
}

/**
 * Connects, waiting for a server that is not there yet or still refuses the login.
 * @throws START_TIMEOUT naming the last reason; BROKER_UNFIT at once; BROKER_UNAVAILABLE when aborted
 */
export async function connectNats(options: ConnectNatsOptions): Promise<Broker> {
  const { clock, role } = options;
  const listeners = new Set<(event: BrokerEvent) => void>();
  if (options.onEvent !== undefined) listeners.add(options.onEvent);
  const tell = (event: BrokerEvent): void => {
    for (const listener of listeners) {
      try {
        listener(event);
      } catch {
        // A listener's fault must not end the loop that reads the connection's status.
      }
    }
  };
  const nc = await firstConnect(options, tell);
  let connected = !nc.isClosed();
  let closing = false;

  void (async () => {
    for await (const status of nc.status()) {
      const event = eventOf(status);
      if (event === undefined) continue;
      if (event.kind === "connected") connected = true;
      if (event.kind === "disconnected") connected = false;
      tell(event);
      // A cluster may have servers of several versions.
      if (event.kind === "connected") {
        checkFitness(nc, role, FITNESS_TIMEOUT).catch((thrown: unknown) => {
          const error = EvergrantError.from(thrown, "BROKER_UNAVAILABLE", "checking the server");
          if (error.code === "BROKER_UNFIT")
            tell({ kind: "fault", fault: { kind: "unfit", error } });
        });
      }
    }
  })().catch(() => undefined);
  void nc.closed().then(
    (reason) => {
      connected = false;
      const error =
        closing || reason === undefined ? undefined : connectError(reason, options.access.servers);
      tell({ kind: "closed", error });
    },
    () => undefined,
  );
  tell({ kind: "connected", again: false });

  return {
    nc,
    clock,
    connected: () => connected && !nc.isClosed(),
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async close(limit = seconds(3)) {
      if (closing || nc.isClosed()) return;
      closing = true;
      // `drain` waits for an answer of the server, which may be gone or frozen; `close` does not.
      if (connected)
        await bounded(
          clock,
          limit,
          nc.drain().catch(() => undefined),
          () => undefined,
        );
      await bounded(
        clock,
        seconds(1),
        nc.close().catch(() => undefined),
        () => undefined,
      );
    },
  };
}

/** For one answer about the server, in milliseconds. */
const FITNESS_TIMEOUT = 3000;

async function firstConnect(
  { role, id, name, access, clock, pace, signal, ...options }: ConnectNatsOptions,
  tell: (event: BrokerEvent) => void,
): Promise<NatsConnection> {
  const limit = options.startTimeout ?? seconds(30);
  const began = clock.now().mono;
  const left = () => durationMs(limit - between(began, clock.now().mono));
  const { servers, auth, tls } = access;
  const authenticator = authenticatorOf(auth);
  const attempt = async (): Promise<NatsConnection> => {
    const nc = await connect({
      ...roleOptions(role, id, name, pace),
      servers: [...servers],
      ...(authenticator === undefined ? {} : { authenticator }),
      ...(tls === undefined ? {} : { tls: tlsOptionsOf(tls) }),
    });
    try {
      await checkFitness(nc, role, FITNESS_TIMEOUT);
      return nc;
    } catch (error) {
      await nc.close().catch(() => undefined);
      throw error;
    }
  };
  let last: EvergrantError | undefined;
  const late = (): never => {
    const why = last === undefined ? "" : `: ${last.message}`;
    const message = `no use of ${servers.join(", ")} after ${limit / 1000} s${why}`;
    throw new EvergrantError("START_TIMEOUT", message, last === undefined ? {} : { cause: last });
  };
  for (let attempts = 1; ; attempts += 1) {
    if (hasEnded(signal)) throw givenUp();
    const connecting = attempt();
    let abandoned = false;
    // An attempt that ends after its time must not leave a connection behind.
    connecting.then(
      (nc) => (abandoned ? nc.close().catch(() => undefined) : undefined),
      () => undefined,
    );
    try {
      const abandon = (): void => {
        abandoned = true;
      };
      return await bounded(clock, left(), orAborted(connecting, signal, abandon), () => {
        abandon();
        return late();
      });
    } catch (thrown) {
      if (hasEnded(signal)) throw givenUp();
      last = connectError(thrown, servers);
      if (last.code === "BROKER_UNFIT" || last.code === "FILE_UNUSABLE") throw last;
      if (last.code === "START_TIMEOUT") throw last;
      tell({ kind: "waiting", attempts, error: last });
      const wait = options.retryPause ?? seconds(1);
      if (left() <= wait) late();
      await pause(clock, wait, { signal });
    }
  }
}

const hasEnded = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;

const givenUp = (): EvergrantError =>
  new EvergrantError("BROKER_UNAVAILABLE", "connecting was given up");

/** What `work` yields, unless `signal` comes first. */
function orAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  abandon: () => void,
): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const end = (): void => {
      abandon();
      reject(givenUp());
    };
    signal.addEventListener("abort", end);
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", end));
  });
}
