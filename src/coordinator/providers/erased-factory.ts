/** One type for factories of all options. Knows no provider. */
import type { CredentialProviderFactory } from "../ports/credential-provider.ts";

/**
 * A factory whose options type is forgotten. Callers parse with its `options` and hand the result
 * to its `create`, so the types can't part.
 */
export function erased<Options>(
  factory: CredentialProviderFactory<Options>,
): CredentialProviderFactory {
  return {
    kind: factory.kind,
    options: factory.options,
    create: (options, services) => factory.create(options as Options, services),
  };
}
