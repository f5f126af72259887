/**
 * What leads Google's clients to the endpoint, and what would lead them elsewhere (delivery.md, 4.2
 * and 8). Everything that outranks us is removed, so that no consumer silently takes another identity.
 */
import type { ConsumerEnvironment } from "../../ports/credential-receiver.ts";

const ALWAYS_UNSET = [
  "GOOGLE_APPLICATION_CREDENTIALS",
  "google_application_credentials", // Node's library reads this form, too
  "NO_GCE_CHECK",
  "GCE_METADATA_MTLS_MODE",
  "GOOGLE_API_KEY",
  "GOOGLE_CREDENTIALS", // Terraform reads these two
  "GOOGLE_OAUTH_ACCESS_TOKEN",
  "CLOUDSDK_AUTH_ACCESS_TOKEN",
  "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE",
  "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE",
  "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT",
  "GCLOUD_PROJECT", // outranks GOOGLE_CLOUD_PROJECT in Node's library
] as const;

/** Hosts of the endpoint, under every name that clients have for it. */
const NEVER_BY_PROXY = "127.0.0.1,localhost,169.254.169.254,metadata.google.internal";

/** `own`: further variables to set. What is set is not unset. */
export function googleEnvironment(
  port: number,
  own: Readonly<Record<string, string>>,
  projectId: string | undefined,
): ConsumerEnvironment {
  const host = `127.0.0.1:${port}`;
  const set: Record<string, string> = {
    GCE_METADATA_HOST: host,
    // Python pings this one first; without it, it finds no metadata server.
    GCE_METADATA_IP: host,
    // gcloud and older Python.
    GCE_METADATA_ROOT: host,
    // Else Node probes the real address beside ours, with a timeout.
    METADATA_SERVER_DETECTION: "assume-present",
    NO_PROXY: NEVER_BY_PROXY,
    no_proxy: NEVER_BY_PROXY,
    ...(projectId === undefined ? {} : { GOOGLE_CLOUD_PROJECT: projectId }),
    ...own,
  };
  return { set, unset: ALWAYS_UNSET.filter((name) => !(name in set)) };
}
