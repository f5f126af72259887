/** `evergrant/receiver`: what the author of a receiver needs (docs/plugins.md). */
export type {
  ConsumerEnvironment,
  ConsumerRequest,
  CredentialReceiver,
  CredentialReceiverFactory,
  ReceiverServices,
  Serving,
} from "../worker-agent/ports/credential-receiver.ts";
export * from "./plugin.ts";
