/** `evergrant/provider`: what the author of a provider needs (docs/plugins.md). */
export type {
  CredentialProvider,
  CredentialProviderFactory,
  ObtainContext,
  Obtained,
  ProviderServices,
} from "../coordinator/ports/credential-provider.ts";
export {
  type Attributes,
  AWS_SESSION,
  type AwsSession,
  type Credential,
  GOOGLE_TOKEN,
  type GoogleToken,
  HADOOP_TOKENS,
  type HadoopTokens,
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
