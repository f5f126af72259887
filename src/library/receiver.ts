/** `evergrant/receiver`: what the author of a receiver needs (docs/plugins.md). */
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
export type {
  ConsumerEnvironment,
  ConsumerRequest,
  CredentialReceiver,
  CredentialReceiverFactory,
  ReceiverServices,
  Serving,
} from "../worker-agent/ports/credential-receiver.ts";
