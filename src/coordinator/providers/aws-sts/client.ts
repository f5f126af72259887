/**
 * The narrow surface of the AWS SDK: one request to STS, one answer. Owns that nothing is retried,
 * that each HTTP request is counted before it is sent (I3), and that the issuer's clock is read from
 * its answer. A client lives for one call: an hour later its connections would be dead anyway.
 */
import {
  AssumeRoleCommand,
  type AssumeRoleCommandInput,
  AssumeRoleWithWebIdentityCommand,
  type AssumeRoleWithWebIdentityCommandInput,
  GetSessionTokenCommand,
  type GetSessionTokenCommandInput,
  STSClient,
} from "@aws-sdk/client-sts";
import { type EpochMs, epochMs } from "../../../protocol/time.ts";
import { stsErrorOf } from "./errors.ts";

export type StsRequest =
  | { readonly action: "AssumeRole"; readonly input: AssumeRoleCommandInput }
  | {
      readonly action: "AssumeRoleWithWebIdentity";
      readonly input: AssumeRoleWithWebIdentityCommandInput;
    }
  | { readonly action: "GetSessionToken"; readonly input: GetSessionTokenCommandInput };

/** Which STS is asked. */
export interface StsTarget {
  readonly region: string;
  readonly endpoint?: string | undefined;
}

/** Who signs. Secret: it stays between the base credentials and this file. */
export interface StsSigner {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** What one attempt lends to each of its requests. */
export interface StsCall {
  readonly signal: AbortSignal;
  countRequest(): void;
  /**
   * STS's clock less ours, as far as a refusal has shown it: requests are dated by it, so that a
   * skewed clock costs one refused attempt. Written and read here; the caller keeps it.
   */
  readonly offset: { ms: number };
}

/** What STS answered, of which anything may be missing. */
export interface StsAnswer {
  readonly accessKeyId: string | undefined;
  readonly secretAccessKey: string | undefined;
  readonly sessionToken: string | undefined;
  readonly expiresAt: EpochMs | undefined;
  /** `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION` */
  readonly principalArn: string | undefined;
  readonly packedPolicyPercent: number | undefined;
  /** The `Date` header of the answer. */
  readonly issuerTime: EpochMs | undefined;
}

export const hostOf = ({ region, endpoint }: StsTarget): string =>
  endpoint === undefined ? `region ${region}` : new URL(endpoint).host;

/** @throws EvergrantError by the table of errors.ts, never one of the SDK's. */
export async function callSts(
  target: StsTarget,
  request: StsRequest,
  signer: StsSigner | undefined,
  call: StsCall,
): Promise<StsAnswer> {
  const { region, endpoint } = target;
  const client = new STSClient({
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(signer === undefined ? {} : { credentials: identityOf(signer) }),
    systemClockOffset: call.offset.ms,
    maxAttempts: 1,
  });
  const seen: { status: number | undefined; date: string | undefined } = {
    status: undefined,
    date: undefined,
  };
  client.middlewareStack.add(
    (next) => (args) => {
      call.countRequest();
      return next(args);
    },
    { step: "finalizeRequest", priority: "low", name: "evergrantCount" },
  );
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      Object.assign(seen, headOf(result.response));
      return result;
    },
    // The innermost place, so that the answer is seen before anything is parsed or thrown.
    { step: "deserialize", priority: "low", name: "evergrantDate" },
  );
  try {
    return answerOf(await send(client, request, call.signal), seen.date);
  } catch (thrown) {
    throw stsErrorOf(thrown, {
      action: request.action,
      endpoint: hostOf(target),
      httpStatus: seen.status,
      aborted: call.signal.aborted,
      secrets: secretsOf(request, signer),
    });
  } finally {
    call.offset.ms = client.config.systemClockOffset;
    client.destroy();
  }
}

/** What the three answers have in common. */
interface RawAnswer {
  readonly Credentials?:
    | {
        readonly AccessKeyId?: string | undefined;
        readonly SecretAccessKey?: string | undefined;
        readonly SessionToken?: string | undefined;
        readonly Expiration?: Date | undefined;
      }
    | undefined;
  readonly AssumedRoleUser?: { readonly Arn?: string | undefined } | undefined;
  readonly PackedPolicySize?: number | undefined;
}

function send(
  client: STSClient,
  request: StsRequest,
  abortSignal: AbortSignal,
): Promise<RawAnswer> {
  const options = { abortSignal };
  switch (request.action) {
    case "AssumeRole":
      return client.send(new AssumeRoleCommand(request.input), options);
    case "AssumeRoleWithWebIdentity":
      return client.send(new AssumeRoleWithWebIdentityCommand(request.input), options);
    case "GetSessionToken":
      return client.send(new GetSessionTokenCommand(request.input), options);
  }
}

function answerOf(raw: RawAnswer, date: string | undefined): StsAnswer {
  const { Credentials: credentials, AssumedRoleUser: user, PackedPolicySize } = raw;
  return {
    accessKeyId: credentials?.AccessKeyId,
    secretAccessKey: credentials?.SecretAccessKey,
    sessionToken: credentials?.SessionToken,
    expiresAt: instantOf(credentials?.Expiration?.getTime()),
    principalArn: user?.Arn,
    packedPolicyPercent: PackedPolicySize,
    issuerTime: instantOf(date === undefined ? undefined : Date.parse(date)),
  };
}

const instantOf = (ms: number | undefined): EpochMs | undefined =>
  ms === undefined || Number.isNaN(ms) ? undefined : epochMs(ms);

/** A signer in the SDK's type, which knows no undefined members. */
export const identityOf = ({ sessionToken, ...pair }: StsSigner) =>
  sessionToken === undefined ? pair : { ...pair, sessionToken };

function headOf(response: unknown): { status?: number; date?: string } {
  if (typeof response !== "object" || response === null) return {};
  const { statusCode, headers } = response as Readonly<Record<string, unknown>>;
  const date =
    typeof headers === "object" && headers !== null
      ? Object.entries(headers).find(([name]) => name.toLowerCase() === "date")?.[1]
      : undefined;
  return {
    ...(typeof statusCode === "number" ? { status: statusCode } : {}),
    ...(typeof date === "string" ? { date } : {}),
  };
}

function secretsOf(request: StsRequest, signer: StsSigner | undefined): string[] {
  const token =
    request.action === "AssumeRoleWithWebIdentity" ? request.input.WebIdentityToken : undefined;
  return [signer?.secretAccessKey, signer?.sessionToken, token].filter(
    (secret): secret is string => secret !== undefined,
  );
}
