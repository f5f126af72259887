/** `evergrant/provider`: what the author of a provider needs (docs/plugins.md). */
export type {
  CredentialProvider,
  CredentialProviderFactory,
  ObtainContext,
  Obtained,
  ProviderServices,
} from "../coordinator/ports/credential-provider.ts";
export * from "./plugin.ts";
