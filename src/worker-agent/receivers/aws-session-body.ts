/**
 * The two JSON forms in which AWS clients take a session (delivery.md, sections 2.1 and 2.5).
 * Pure. They differ in one name: the container form says `Token`, the process form `SessionToken`.
 */
import { type AwsSession, awsSessionSchema, type Credential } from "../../protocol/credential.ts";
import { EvergrantError } from "../../protocol/errors.ts";
import { toRfc3339 } from "../../protocol/time.ts";

/** The container endpoint's body. No `Code`: Rust takes any but "Success" for a failure. */
export function containerBody(credential: Credential): Buffer {
  const session = sessionOf(credential);
  return jsonOf({
    AccessKeyId: session.accessKeyId,
    SecretAccessKey: session.secretAccessKey,
    Token: session.sessionToken,
    ...commonOf(credential),
  });
}

/** What a `credential_process` command prints. */
export function processBody(credential: Credential): Buffer {
  const session = sessionOf(credential);
  return jsonOf({
    Version: 1,
    AccessKeyId: session.accessKeyId,
    SecretAccessKey: session.secretAccessKey,
    SessionToken: session.sessionToken,
    ...commonOf(credential),
  });
}

const jsonOf = (document: Readonly<Record<string, unknown>>): Buffer =>
  Buffer.from(JSON.stringify(document));

function commonOf(credential: Credential): Record<string, string> {
  const accountId = credential.attributes["accountId"];
  return {
    Expiration: toRfc3339(credential.expiresAt), // without a fraction and with Z: JavaScript refuses +00:00
    ...(accountId === undefined ? {} : { AccountId: accountId }),
  };
}

/** @throws EvergrantError `RECEIVER_FAILED`, naming the fields and never what is in them (I9). */
function sessionOf(credential: Credential): AwsSession {
  const parsed = awsSessionSchema.safeParse(credential.material.reveal());
  if (parsed.success) return parsed.data;
  const fields = [...new Set(parsed.error.issues.map((issue) => issue.path.join(".")))];
  throw new EvergrantError(
    "RECEIVER_FAILED",
    `the credential of kind "${credential.kind}" is no AWS session: unfit or missing are ${fields.join(", ")}`,
  );
}
