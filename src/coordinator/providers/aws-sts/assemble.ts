/** The request to STS and the reading of its answer, as pure functions. Knows no SDK behaviour. */
import { type Attributes, AWS_SESSION, awsSessionSchema } from "../../../protocol/credential.ts";
import { EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import type { Obtained } from "../../ports/credential-provider.ts";
import type { StsAnswer, StsRequest } from "./client.ts";
import { type AwsStsOptions, inlinePolicy, type RoleOptions } from "./options.ts";

export const CREDENTIAL_KIND = AWS_SESSION;

/** What files held when the attempt began. */
export interface ReadInputs {
  /** Of `webIdentityTokenFile`. */
  readonly webIdentityToken?: Secret<string> | undefined;
  /** Of `policyFile`: compact JSON. */
  readonly policy?: string | undefined;
}

/** `evergrant-JOB`, cut to what STS allows. Names of jobs have only characters that it takes. */
export const defaultSessionName = (job: string): string => `evergrant-${job}`.slice(0, 64);

/** One request. `fallbackName` is used where the options have no `sessionName`. */
export function assembleRequest(
  options: AwsStsOptions,
  inputs: ReadInputs,
  fallbackName: string,
): StsRequest {
  if (options.action === "GetSessionToken") {
    return { action: options.action, input: { DurationSeconds: options.durationSec } };
  }
  const common = {
    RoleArn: options.roleArn,
    RoleSessionName: options.sessionName ?? fallbackName,
    DurationSeconds: options.durationSec,
    ...policies(options, inputs.policy),
  };
  if (options.action === "AssumeRoleWithWebIdentity") {
    const token = inputs.webIdentityToken?.reveal() ?? "";
    return { action: options.action, input: { ...common, WebIdentityToken: token } };
  }
  const { externalId, sourceIdentity, tags, transitiveTagKeys } = options;
  return {
    action: options.action,
    input: {
      ...common,
      ...(externalId === undefined ? {} : { ExternalId: externalId }),
      ...(sourceIdentity === undefined ? {} : { SourceIdentity: sourceIdentity }),
      ...(tags === undefined
        ? {}
        : { Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })) }),
      ...(transitiveTagKeys === undefined ? {} : { TransitiveTagKeys: transitiveTagKeys }),
    },
  };
}

/**
 * A policy that is configured but empty must never lead to a request without one: that would grant
 * all that the role may do (delivery.md 3.1).
 */
function policies(options: RoleOptions, fromFile: string | undefined) {
  const wanted =
    options.scopes !== undefined ||
    options.policy !== undefined ||
    options.policyFile !== undefined;
  const inline = options.policyFile === undefined ? inlinePolicy(options) : fromFile;
  if (wanted && (inline === undefined || inline === "")) {
    throw new EvergrantError("CONFIG_INVALID", "the configured session policy is empty");
  }
  return {
    ...(inline === undefined ? {} : { Policy: inline }),
    ...(options.policyArns === undefined
      ? {}
      : { PolicyArns: options.policyArns.map((arn) => ({ arn })) }),
  };
}

/**
 * STS's answer as what was obtained. The returned Expiration counts, not the one asked for; without
 * one `expiresAt` is undefined.
 * @throws EvergrantError ISSUER_ANSWER_UNUSABLE where a part of the credential is missing.
 */
export function readAnswer(answer: StsAnswer, options: AwsStsOptions): Obtained {
  const { accessKeyId, secretAccessKey, sessionToken } = answer;
  const session = awsSessionSchema.safeParse({ accessKeyId, secretAccessKey, sessionToken });
  if (!session.success) {
    const missing = session.error.issues.map(({ path }) => path.join(".")).join(", ");
    const message = `STS ${options.action} answered without a usable credential (${missing})`;
    throw new EvergrantError("ISSUER_ANSWER_UNUSABLE", message, { details: { missing } });
  }
  return {
    material: new Secret(session.data),
    expiresAt: answer.expiresAt,
    ...(answer.issuerTime === undefined ? {} : { issuerTime: answer.issuerTime }),
    attributes: attributesOf(answer, options),
  };
}

function attributesOf({ principalArn }: StsAnswer, options: AwsStsOptions): Attributes {
  const account = principalArn?.split(":")[4];
  return {
    region: options.region,
    ...(account === undefined || account === "" ? {} : { accountId: account }),
    ...(options.action === "GetSessionToken" ? {} : { roleArn: options.roleArn }),
  };
}
