/** `evergrant/operator`: what commands a running job. */
export {
  type ConnectOperatorOptions,
  connectOperator,
  type OperatorClient,
  type RotateRequest,
} from "../operator/operator-client.ts";
export type {
  AgentStatus,
  JobStatus,
  ProviderStatus,
  Reason,
  RotationStatus,
} from "../protocol/control.ts";
export { type ErrorCode, EvergrantError } from "../protocol/errors.ts";
export { type OperatorFile, operatorFileSchema } from "../protocol/join.ts";
export { type DurationMs, durationMs, seconds } from "../protocol/time.ts";
