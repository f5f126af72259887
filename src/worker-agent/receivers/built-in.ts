/**
 * The receivers that come with evergrant. Each is imported when it is first asked for, so that an
 * agent loads only what it serves. Adding one: its folder, a line here, a page in docs/receivers/.
 */
import { AWS_SESSION, GOOGLE_TOKEN, HADOOP_TOKENS } from "../../protocol/credential.ts";
import type { CredentialReceiverFactory } from "../ports/credential-receiver.ts";

export interface BuiltInReceiver {
  readonly load: () => Promise<CredentialReceiverFactory>;
  /** The kind of credential that it serves when the agent has no configuration. */
  readonly conventionFor?: string;
}

export const BUILT_IN_RECEIVERS: ReadonlyMap<string, BuiltInReceiver> = new Map<
  string,
  BuiltInReceiver
>([
  [
    "aws-container",
    {
      load: async () => widen((await import("./aws-container/index.ts")).awsContainerFactory),
      conventionFor: AWS_SESSION,
    },
  ],
  [
    "aws-process",
    { load: async () => widen((await import("./aws-process/index.ts")).awsProcessFactory) },
  ],
  [
    "google-metadata",
    {
      load: async () => widen((await import("./google-metadata/index.ts")).googleMetadataFactory),
      conventionFor: GOOGLE_TOKEN,
    },
  ],
  [
    "hadoop-token-file",
    {
      load: async () => widen((await import("./hadoop-token-file/index.ts")).hadoopTokenFile),
      conventionFor: HADOOP_TOKENS,
    },
  ],
  ["file", { load: async () => widen((await import("./file/index.ts")).fileFactory) }],
  ["exec", { load: async () => widen((await import("./exec/index.ts")).execFactory) }],
]);

/** Callers hand `create` only what the factory's own `options` has parsed, so its type may be forgotten. */
function widen<Options>(factory: CredentialReceiverFactory<Options>): CredentialReceiverFactory {
  return factory as CredentialReceiverFactory;
}
