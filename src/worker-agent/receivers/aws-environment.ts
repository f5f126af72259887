/**
 * What both AWS receivers do to a consumer's environment (delivery.md, section 2.7). Everything
 * that outranks us in an SDK's chain is removed, so that no consumer silently takes another identity.
 */
import type { ConsumerEnvironment } from "../ports/credential-receiver.ts";

/** Static keys and other sources that win over the container endpoint or would win over a profile. */
const ALWAYS_UNSET = [
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_SECURITY_TOKEN", // the older name of the session token in botocore
  "AWS_ACCESS_KEY", // Java SDK v1 reads these two as well
  "AWS_SECRET_KEY",
  "AWS_CREDENTIAL_EXPIRATION",
  "AWS_PROFILE",
  "AWS_DEFAULT_PROFILE",
  "AWS_ROLE_ARN",
  "AWS_WEB_IDENTITY_TOKEN_FILE",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
  "AWS_SDK_LOAD_CONFIG",
] as const;

/** The receiver's own variables on top of that; what is set is not unset. */
export function awsEnvironment(
  own: Readonly<Record<string, string>>,
  region: string | undefined,
): ConsumerEnvironment {
  const set: Record<string, string> = {
    ...own,
    // Java's chain goes on to the node's role when we are down; that must be a loud failure instead.
    AWS_EC2_METADATA_DISABLED: "true",
    // botocore and the AWS CLI 1 read only the second.
    ...(region === undefined ? {} : { AWS_REGION: region, AWS_DEFAULT_REGION: region }),
  };
  return { set, unset: ALWAYS_UNSET.filter((name) => !(name in set)) };
}
