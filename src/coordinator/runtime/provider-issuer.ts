/** A provider behind the Issuer port: gives every call a hard end, whatever the provider does. */
import { EvergrantError } from "../../protocol/errors.ts";
import { failure, type Outcome, settle, success } from "../../protocol/outcome.ts";
import type { Clock, DurationMs } from "../../protocol/time.ts";
import type { ObtainedFacts } from "../core/effects.ts";
import type { CredentialProvider } from "../ports/credential-provider.ts";
import type { Issuer } from "../ports/issuer.ts";

export function providerIssuer(name: string, provider: CredentialProvider, clock: Clock): Issuer {
  /** Runs `work` with a signal that aborts at the end of `limit`; what comes later is dropped. */
  function bounded<T>(
    limit: DurationMs,
    work: (signal: AbortSignal) => Promise<T>,
    done: (outcome: Outcome<T>) => void,
    doing: string,
  ): void {
    const aborter = new AbortController();
    let over = false;
    const end = (outcome: Outcome<T>): void => {
      if (over) return;
      over = true;
      cancelTimer();
      done(outcome);
    };
    const cancelTimer = clock.timer(limit, () => {
      // The timer decides, not the provider: one that ignores the signal holds nothing up.
      end(
        failure(
          new EvergrantError("ISSUER_TIMEOUT", `${doing} took longer than ${limit / 1000} s`),
        ),
      );
      aborter.abort();
    });
    settle(() => work(aborter.signal), end, "PROVIDER_FAILED", doing);
  }

  return {
    obtain(call, done) {
      let requests = 0;
      bounded<ObtainedFacts>(
        call.timeout,
        async (signal) => {
          const obtained = await provider.obtain({
            current: call.current,
            freshIdentity: call.freshIdentity,
            replace: call.replace,
            signal,
            countRequest: () => {
              requests += 1;
            },
          });
          return {
            material: obtained.material,
            expiresAt: obtained.expiresAt,
            issuedAt: obtained.issuedAt,
            issuerTime: obtained.issuerTime,
            attributes: obtained.attributes,
            problem:
              obtained.problem === undefined
                ? undefined
                : EvergrantError.from(
                    obtained.problem,
                    "PROVIDER_FAILED",
                    `renewing part of ${name}`,
                  ),
          };
        },
        (outcome) => done(outcome, requests),
        `obtaining ${name}`,
      );
    },
    cancel(credential, timeout, done) {
      if (provider.cancel === undefined) {
        done(success(undefined));
        return;
      }
      const { cancel } = provider;
      bounded(
        timeout,
        (signal) => cancel.call(provider, credential, signal),
        done,
        `cancelling ${name}`,
      );
    },
    close(done) {
      settle(() => provider.close(), done, "PROVIDER_FAILED", `closing ${name}`);
    },
  };
}
