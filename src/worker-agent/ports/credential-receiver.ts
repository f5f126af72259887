/** SPI: what hands a credential to its consumers on this host. Third parties implement it (docs/plugins.md). */
import type { ZodType } from "zod";
import type { Credential } from "../../protocol/credential.ts";
import type { Clock, DurationMs, MonoMs, Random } from "../../protocol/time.ts";

/** A credential and when it ends on this process's monotonic clock, which never steps. */
export interface Serving {
  readonly credential: Credential;
  /** At and after this reading the receiver must not hand it out, whatever the wall clock says (I2). */
  readonly until: MonoMs;
}

/** What a consumer's environment needs: variables to set, and variables to remove because they would win. */
export interface ConsumerEnvironment {
  readonly set: Readonly<Record<string, string>>;
  readonly unset: readonly string[];
}

export interface CredentialReceiver {
  /** Binds ports, makes folders. Rejects with RECEIVER_FAILED, e.g. when the port is taken. */
  start(): Promise<ConsumerEnvironment>;
  /**
   * Serves this credential from now on, in place of the provider's former one. Resolves when it is
   * proved that a consumer would now get it (the file is renamed and synced, the endpoint answers
   * with it). Never called twice at once for one provider. Rejects with RECEIVER_FAILED; what was
   * served before is then still served, until its own end.
   */
  apply(serving: Serving): Promise<void>;
  /** Stops serving the provider's credential: it has expired, or a tombstone says so. */
  withdraw(provider: string): Promise<void>;
  /** Releases ports and files. What a consumer has been given stays valid. */
  stop(): Promise<void>;
}

/** One request of a consumer to an endpoint, for the agent's metrics. Labels are of closed sets. */
export interface ConsumerRequest {
  /** `served`, or why not, e.g. `empty`, `expired`, `unauthorized`; `probe` is the agent asking itself. */
  readonly outcome: string;
  /** The family of the client's software, e.g. `botocore`; `none`, `other`. */
  readonly client: string;
  /** The life left in what was served. */
  readonly remaining?: DurationMs;
}

export interface ReceiverServices {
  readonly tenant: string;
  readonly job: string;
  readonly agent: string;
  /** The provider that this receiver serves. */
  readonly provider: string;
  readonly clock: Clock;
  readonly random: Random;
  /** A folder that outlives the process, so that ports and tokens stay the same; undefined: none. */
  readonly stateDir: string | undefined;
  /** A private folder (0700) of this process. */
  readonly workDir: string;
  /** Called for each request of a consumer, by receivers that are asked. Must not throw. */
  observe?(request: ConsumerRequest): void;
  log(level: "info" | "warn", message: string, facts?: Readonly<Record<string, unknown>>): void;
}

export interface CredentialReceiverFactory<Options = unknown> {
  /** The `kind` in the configuration: `aws-container`, or the package's name. */
  readonly kind: string;
  /** The kinds of credential that it can serve; `*` for any. */
  readonly serves: readonly string[];
  /** Used when the agent has no configuration: whether it serves its kinds by convention. */
  readonly byConvention: boolean;
  /** The receiver's own options; `kind` and `provider` are taken out before. */
  readonly options: ZodType<Options>;
  /** Must not do I/O. */
  create(options: Options, services: ReceiverServices): CredentialReceiver;
}
