/**
 * The one error class and its closed set of codes. What to do about an error is a total table from
 * its code (`dispositionOf`), decided here once; nothing in evergrant ever matches message text.
 */

/** What a failed call to an issuer means for the renewal of that provider (design, section 4). */
export type ErrorClass = "transient" | "identity" | "denied" | "invalid";

const CLASS_OF = {
  // Issuers.
  ISSUER_UNAVAILABLE: "transient",
  ISSUER_THROTTLED: "transient",
  ISSUER_TIMEOUT: "transient",
  ISSUER_ANSWER_UNUSABLE: "transient",
  ISSUER_IDENTITY_REJECTED: "identity",
  ISSUER_DENIED: "denied",
  ISSUER_REQUEST_INVALID: "invalid",
  /** The issuer answered with no expiry and the configuration has no `assumedLifetimeSec`. */
  ISSUER_EXPIRY_MISSING: "invalid",
  /** The issuer answered with an expiry that is already past (or clocks are far apart). */
  ISSUER_EXPIRY_PAST: "transient",
  /** What the provider needs on this machine (a token file, a keytab, a profile) is not there. */
  PROVIDER_INPUT_MISSING: "identity",
  PROVIDER_FAILED: "transient",
  // Stores and the network.
  STORE_UNAVAILABLE: "transient",
  /** Somebody else wrote first: the expected revision is not the current one. */
  STORE_CONFLICT: "denied",
  /** The stored bytes do not open or parse under any key that we hold. */
  STORE_UNREADABLE: "invalid",
  QUEUE_UNAVAILABLE: "transient",
  BROKER_UNAVAILABLE: "transient",
  /** The server is too old, or lacks JetStream, or its bucket differs from what is wanted. */
  BROKER_UNFIT: "invalid",
  // Messages.
  MESSAGE_MALFORMED: "invalid",
  MESSAGE_FORGED: "denied",
  MESSAGE_REPLAYED: "denied",
  MESSAGE_EXPIRED: "denied",
  MESSAGE_TOO_LARGE: "invalid",
  MESSAGE_FOR_OTHER_JOB: "denied",
  KEY_UNKNOWN: "identity",
  // Registration.
  JOIN_TOKEN_INVALID: "denied",
  JOIN_TOKEN_EXPIRED: "denied",
  JOIN_TOKEN_EXHAUSTED: "denied",
  AGENT_BANNED: "denied",
  // Agents.
  RECEIVER_FAILED: "transient",
  // Operators and the command line.
  NOT_AUTHORISED: "denied",
  NO_COORDINATOR: "transient",
  AGENTS_MISSING: "transient",
  CONFIG_INVALID: "invalid",
  FILE_UNUSABLE: "invalid",
  PLUGIN_UNUSABLE: "invalid",
  START_TIMEOUT: "transient",
  SERVER_START_FAILED: "transient",
  INTERNAL: "transient",
} as const satisfies Record<string, ErrorClass>;

/** Every code that evergrant throws or reports. There are no others. */
export type ErrorCode = keyof typeof CLASS_OF;

export const ERROR_CODES = Object.keys(CLASS_OF) as readonly ErrorCode[];

/** The class of a code: the only input of every retry decision. */
export function classOf(code: ErrorCode): ErrorClass {
  return CLASS_OF[code];
}

export interface EvergrantErrorOptions {
  readonly cause?: unknown;
  /** Facts for logs and `--json`, e.g. `{ httpStatus: 403, issuerCode: "AccessDenied" }`. Never a secret. */
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

/** Thrown by everything that does I/O. The message starts with `[CODE]` and holds no secret. */
export class EvergrantError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, string | number | boolean>>;

  constructor(code: ErrorCode, message: string, options: EvergrantErrorOptions = {}) {
    super(`[${code}] ${message}`, options.cause === undefined ? {} : { cause: options.cause });
    this.name = "EvergrantError";
    this.code = code;
    this.details = options.details ?? {};
  }

  /**
   * Any thrown value as an EvergrantError: itself if it is one, else wrapped under `fallback`.
   * Only the type's name of a foreign error goes into the message, since its text may hold secrets.
   */
  static from(thrown: unknown, fallback: ErrorCode, doing: string): EvergrantError {
    if (thrown instanceof EvergrantError) return thrown;
    const what = thrown instanceof Error ? thrown.name : typeof thrown;
    return new EvergrantError(fallback, `${doing} failed (${what})`, { cause: thrown });
  }
}

/** Exit codes of every `evergrant` subcommand. */
export const EXIT = { done: 0, failed: 1, usage: 2, agentsMissing: 3, noCoordinator: 4 } as const;

/** The exit code that a subcommand ends with after this error. */
export function exitCodeOf(code: ErrorCode): number {
  if (code === "AGENTS_MISSING") return EXIT.agentsMissing;
  if (code === "NO_COORDINATOR") return EXIT.noCoordinator;
  if (code === "CONFIG_INVALID") return EXIT.usage;
  return EXIT.failed;
}
