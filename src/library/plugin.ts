/** What the author of a plug-in of either kind needs: credentials, errors, secrets and time. */
export {
  type Attributes,
  AWS_SESSION,
  type AwsSession,
  awsSessionSchema,
  type Credential,
  GOOGLE_TOKEN,
  type GoogleToken,
  googleTokenSchema,
  HADOOP_TOKENS,
  type HadoopTokens,
  hadoopTokensSchema,
  type Material,
} from "../protocol/credential.ts";
export {
  classOf,
  type ErrorClass,
  type ErrorCode,
  EvergrantError,
  type EvergrantErrorOptions,
} from "../protocol/errors.ts";
export { Secret } from "../protocol/secret.ts";
export {
  between,
  type CancelTimer,
  type Clock,
  type DurationMs,
  durationMs,
  type EpochMs,
  epochMs,
  later,
  type MonoMs,
  monoMs,
  type Now,
  type Random,
  seconds,
  toRfc3339,
} from "../protocol/time.ts";
