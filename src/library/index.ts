/**
 * `evergrant`: what programs start. This folder is the package's public face, one file for each entry of
 * its export map (docs/library.md), and plugin.ts for what two of them share; nothing outside imports it,
 * and what it does not name is private.
 */
export {
  type JobConfig,
  parseJobConfig,
  readJobConfig,
} from "../coordinator/config.ts";
export {
  type CoordinatorHandle,
  type LaunchOptions,
  launchCoordinator,
} from "../coordinator/coordinator.ts";
export type { AgentStatus, JobStatus, RotationStatus } from "../protocol/control.ts";
export type { Attributes, AwsSession, Credential, Material } from "../protocol/credential.ts";
export {
  AWS_SESSION,
  awsSessionSchema,
  GOOGLE_TOKEN,
  googleTokenSchema,
  HADOOP_TOKENS,
  hadoopTokensSchema,
} from "../protocol/credential.ts";
export { classOf, type ErrorClass, type ErrorCode, EvergrantError } from "../protocol/errors.ts";
export { type JoinFile, joinFileSchema } from "../protocol/join.ts";
export { Secret } from "../protocol/secret.ts";
export {
  type Clock,
  type DurationMs,
  durationMs,
  type EpochMs,
  epochMs,
  type Random,
  seconds,
} from "../protocol/time.ts";
export {
  createLogger,
  LOG_LEVELS,
  type Logger,
  type LogLevel,
  silentLogger,
} from "../runtime/logger.ts";
export { type Agent, type StartAgentOptions, startAgent } from "../worker-agent/agent.ts";
export type { AgentConfigInput } from "../worker-agent/config.ts";
export type { AgentHealth } from "../worker-agent/core/health.ts";
export type { CredentialStream } from "../worker-agent/credential-stream.ts";
export {
  type JobEvents,
  type JobMembership,
  type JoinJobOptions,
  joinJob,
} from "../worker-agent/join-job.ts";
