/**
 * `evergrant/protocol`: the messages, for whoever speaks the protocol from other software: subjects, schemas,
 * sealing and signatures (docs/protocol.md). Left out is what only a coordinator does with its job key file.
 */
export { type AuditEvent, auditEventSchema } from "../protocol/audit.ts";
export {
  type Bundle,
  type BundleHeader,
  bundleHeaderSchema,
  MAX_SEALED_BYTES,
  openBundle,
  sealBundle,
  type Tombstone,
  type VerifiedBundle,
  verifyBundle,
} from "../protocol/bundle.ts";
export {
  type Answer,
  type AnswerEnvelope,
  answerEnvelopeSchema,
  answerSchema,
  type Command,
  type CommandEnvelope,
  commandEnvelopeSchema,
  commandSchema,
  openAnswer,
  openCommand,
  sealAnswer,
  sealCommand,
} from "../protocol/control.ts";
export {
  type Credential,
  type CredentialWire,
  credentialFromWire,
  credentialToWire,
  credentialWireSchema,
} from "../protocol/credential.ts";
export { ERROR_CODES, type ErrorCode, EvergrantError } from "../protocol/errors.ts";
export {
  type BrokerAccess,
  brokerAccessSchema,
  type JoinFile,
  type JoinToken,
  joinFileSchema,
  joinTokenSchema,
  type OperatorFile,
  operatorFileSchema,
  readJoinToken,
  type Ticket,
  ticketSchema,
} from "../protocol/join.ts";
export {
  createSigningKey,
  type GroupKey,
  type JobPublicKeys,
  jobPublicKeysSchema,
  publicPart,
  type RegistrationPublic,
  type SigningKey,
  signingKeySchema,
  type VerifyKey,
  verifyKeySchema,
} from "../protocol/keys.ts";
export {
  type AgentId,
  compareVersions,
  type JobId,
  NAME_PATTERN,
  nameSchema,
  type Version,
} from "../protocol/names.ts";
export { type Notice, noticeSchema, openNotice } from "../protocol/notice.ts";
export { type Permissions, permissionsOf, type Role } from "../protocol/permissions.ts";
export {
  openRegister,
  openRegisterReply,
  type RegisterAnswer,
  type RegisterBody,
  type RegisteredBody,
  registerBodySchema,
  registeredBodySchema,
  registerReplySchema,
  sealRegister,
} from "../protocol/register.ts";
export {
  type Ack,
  ackSchema,
  type Beat,
  beatSchema,
  type Demand,
  decodeReport,
  demandSchema,
  encodeReport,
  type ReceiverResult,
  type Report,
  reportSchema,
} from "../protocol/report.ts";
export { Secret } from "../protocol/secret.ts";
export {
  AGENT_VERBS,
  type AgentVerb,
  AUDIT_STREAM,
  AUDIT_SUBJECTS,
  agentOfSubject,
  BUCKET,
  inboxPrefix,
  jobKey,
  subject,
} from "../protocol/subjects.ts";
export {
  type DurationMs,
  durationMs,
  type EpochMs,
  epochMs,
  type Random,
  seconds,
} from "../protocol/time.ts";
