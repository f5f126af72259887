/** The providers that come with evergrant, each loaded only when a job names its kind. */
import type { CredentialProviderFactory } from "../ports/credential-provider.ts";
import { erased } from "./erased-factory.ts";

/** By `kind`. A kind that is not here is the name of an npm package. */
export const BUILT_IN_PROVIDERS: Readonly<
  Record<string, () => Promise<CredentialProviderFactory>>
> = {
  "aws-sts": async () => erased((await import("./aws-sts/index.ts")).awsStsProvider),
  exec: async () => erased((await import("./exec/index.ts")).execProvider),
  "google-wif": async () => erased((await import("./google-wif/index.ts")).googleWifProvider),
  hadoop: async () => erased((await import("./hadoop/index.ts")).hadoopProvider),
};
