/**
 * What a refused request means, as a total table over the server's exception class and the status.
 * Hadoop's messages differ between versions and hold user input: they are neither matched nor kept.
 */
import * as z from "zod";
import type { ErrorCode } from "../../../protocol/errors.ts";
import type { HttpAnswer } from "./http.ts";

export interface Refusal {
  readonly code: ErrorCode;
  /** Another node of the same service may do better. */
  readonly elsewhere: boolean;
  /** The token in the request is no longer known or has ended: a new one is needed. */
  readonly dead: boolean;
  /** The simple name of the server's exception class; undefined: it named none. */
  readonly exception: string | undefined;
}

interface Meaning {
  readonly code: ErrorCode;
  readonly elsewhere?: true;
  readonly dead?: true;
}

const AWAY: Meaning = { code: "ISSUER_UNAVAILABLE", elsewhere: true };
const DENIED: Meaning = { code: "ISSUER_DENIED" };
const INVALID: Meaning = { code: "ISSUER_REQUEST_INVALID" };
const IDENTITY: Meaning = { code: "ISSUER_IDENTITY_REJECTED" };

/** By simple class name; a name that is missing here is judged by the status. */
const BY_EXCEPTION: ReadonlyMap<string, Meaning> = new Map(
  Object.entries<Meaning>({
    StandbyException: AWAY,
    ObserverRetryOnActiveException: AWAY,
    RetriableException: AWAY,
    SafeModeException: AWAY,
    ConnectException: AWAY,
    SocketTimeoutException: AWAY,
    NoRouteToHostException: AWAY,
    UnknownHostException: AWAY,
    EOFException: AWAY,
    ServerTooBusyException: { code: "ISSUER_THROTTLED", elsewhere: true },
    InvalidToken: { code: "ISSUER_REQUEST_INVALID", dead: true },
    AccessControlException: DENIED,
    AuthorizationException: DENIED,
    ForbiddenException: DENIED,
    AuthenticationException: IDENTITY,
    SecurityException: IDENTITY,
    IllegalArgumentException: INVALID,
    UnsupportedOperationException: INVALID,
    BadRequestException: INVALID,
    FileNotFoundException: INVALID,
    NotFoundException: INVALID,
  }),
);

const remoteExceptionSchema = z.object({
  RemoteException: z.object({
    exception: z.string().optional(),
    javaClassName: z.string().optional(),
  }),
});

/** Judges any answer but a 200. */
export function judgeRefusal(answer: HttpAnswer): Refusal {
  const exception = exceptionOf(answer.body) ?? classNameAtStart(answer.reason);
  const named = exception === undefined ? undefined : BY_EXCEPTION.get(exception);
  const { code, elsewhere, dead } = named ?? byStatus(answer.status, exception !== undefined);
  return { code, elsewhere: elsewhere === true, dead: dead === true, exception };
}

function byStatus(status: number, fromHadoop: boolean): Meaning {
  if (status === 401) return IDENTITY;
  // Hadoop's SPNEGO filter answers a ticket that it can't accept with 403 and a page of HTML.
  if (status === 403) return fromHadoop ? AWAY : IDENTITY;
  if (status === 407) return DENIED;
  if (status === 408 || status === 429) return { code: "ISSUER_THROTTLED", elsewhere: true };
  if (status >= 400 && status < 500) return INVALID;
  if (status >= 500) return AWAY;
  return { code: "ISSUER_ANSWER_UNUSABLE", elsewhere: true };
}

/**
 * KMS and HttpFS answer without a body and with `403 org.apache…SecretManager$InvalidToken: …`: the
 * class's full name, then what it says, which is not looked at.
 */
function classNameAtStart(reason: string): string | undefined {
  const [, name] = /^(?:[a-z][a-z0-9_]*\.)+([A-Za-z0-9_$]+)(?::|$)/.exec(reason) ?? [];
  return name?.split("$").at(-1);
}

function exceptionOf(body: string): string | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return undefined;
  }
  const judged = remoteExceptionSchema.safeParse(parsed);
  if (!judged.success) return undefined;
  const { exception, javaClassName } = judged.data.RemoteException;
  // Nested classes come as `SecretManager$InvalidToken` from some servers.
  const name = exception ?? javaClassName;
  return name?.split(/[.$]/).at(-1);
}
