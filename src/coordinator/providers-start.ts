/** From resolved providers to issuers and what the core is told of them. */
import { join } from "node:path";
import { type Clock, type Random, seconds } from "../protocol/time.ts";
import type { Log } from "../runtime/log.ts";
import type { JobConfig, ResolvedProvider } from "./config.ts";
import type { ProviderSettings } from "./core/settings.ts";
import type { Issuer } from "./ports/issuer.ts";
import { providerIssuer } from "./runtime/provider-issuer.ts";

export interface StartedProviders {
  readonly issuers: ReadonlyMap<string, Issuer>;
  readonly settings: readonly ProviderSettings[];
}

/** Makes the providers. No issuer is called yet. */
export function startProviders(
  resolved: readonly ResolvedProvider[],
  config: JobConfig,
  services: {
    readonly clock: Clock;
    readonly random: Random;
    readonly runDir: string;
    readonly log: Log;
  },
): StartedProviders {
  const issuers = new Map<string, Issuer>();
  const settings = resolved.map(({ config: entry, factory, options, configDigest }) => {
    const { name, kind, callTimeoutSec, assumedLifetimeSec } = entry;
    const provider = factory.create(options, {
      name,
      tenant: config.tenant,
      job: config.job,
      clock: services.clock,
      random: services.random,
      baseDir: config.baseDir,
      workDir: join(services.runDir, "providers", name),
      log: (level, message, facts) => services.log(level, message, { provider: name, ...facts }),
    });
    issuers.set(name, providerIssuer(name, provider, services.clock));
    return {
      name,
      kind,
      credentialKind: provider.credentialKind,
      configDigest,
      minRemaining: provider.minRemaining,
      callTimeout: seconds(callTimeoutSec),
      assumedLifetime: assumedLifetimeSec === undefined ? undefined : seconds(assumedLifetimeSec),
      cancels: provider.cancel !== undefined,
    };
  });
  return { issuers, settings };
}
