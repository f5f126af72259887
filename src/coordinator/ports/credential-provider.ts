/** SPI: what obtains credentials from one issuer. Third parties implement it (docs/plugins.md). */
import type { ZodType } from "zod";
import type { Attributes, Credential, Material } from "../../protocol/credential.ts";
import type { Secret } from "../../protocol/secret.ts";
import type { Clock, DurationMs, EpochMs, Random } from "../../protocol/time.ts";

export interface ObtainContext {
  /** What the job holds from this provider now. A provider that can renew in place starts from it. */
  readonly current: Credential | undefined;
  /** True after the issuer has rejected the identity: read or mint it anew, take none from a cache. */
  readonly freshIdentity: boolean;
  /** True when an operator or an agent wants new credentials: renewing in place will not do. */
  readonly replace: boolean;
  /** Aborts when `callTimeout` is over. The provider must then end its requests and reject. */
  readonly signal: AbortSignal;
  /** To be called once before each request to the issuer: `issuerRequests` counts them. */
  countRequest(): void;
}

export interface Obtained {
  readonly material: Secret<Material>;
  /** As the issuer returned it. Undefined: `assumedLifetimeSec` is needed, else it is an error. */
  readonly expiresAt: EpochMs | undefined;
  /** When the lifetime began, by the issuer's clock. Default: `issuerTime`; without it, the start of the call. */
  readonly issuedAt?: EpochMs;
  /** The issuer's clock at its answer (the `Date` header). Default: the coordinator's clock. */
  readonly issuerTime?: EpochMs;
  readonly attributes: Attributes;
  /** A part of it could not be renewed. What was obtained counts, and the rest is retried. */
  readonly problem?: Error;
}

export interface CredentialProvider {
  /** The kind of the credentials: what receivers look for. */
  readonly credentialKind: string;
  /** What must remain when consumers ask, so that their SDKs go on caching (design, section 4). */
  readonly minRemaining: DurationMs;
  /**
   * One attempt at the issuer, with no retries inside (or all of them counted).
   * Rejects with an EvergrantError whose code has the right class.
   */
  obtain(context: ObtainContext): Promise<Obtained>;
  /** At the end of the job: cancels what can be cancelled. Absent: nothing can. */
  cancel?(credential: Credential, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface ProviderServices {
  readonly name: string;
  readonly tenant: string;
  readonly job: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Absolute: the configuration's folder, which relative paths in the options are relative to. */
  readonly baseDir: string;
  /** A private folder (0700) for caches, made on first use. */
  readonly workDir: string;
  log(level: "info" | "warn", message: string, facts?: Readonly<Record<string, unknown>>): void;
}

export interface CredentialProviderFactory<Options = unknown> {
  /** The `kind` in the configuration: `aws-sts`, or the package's name. */
  readonly kind: string;
  /** The provider's own options; `name`, `kind`, `callTimeoutSec` and `assumedLifetimeSec` are taken out before. */
  readonly options: ZodType<Options>;
  /** Must not do I/O. */
  create(options: Options, services: ProviderServices): CredentialProvider;
}
