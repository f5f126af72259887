/**
 * The receivers of an agent that lives inside of its consumer: a credential is applied by being in
 * the map, so it is proved at once. Nothing past its end is ever handed out of here (I2).
 */
import type { Credential } from "../../../protocol/credential.ts";
import { success } from "../../../protocol/outcome.ts";
import type { Clock } from "../../../protocol/time.ts";
import type { Serving } from "../../ports/credential-receiver.ts";
import type { Receivers } from "../../ports/receivers.ts";

export const IN_PROCESS = "in-process";

export interface InProcessReceivers extends Receivers {
  /** What is served for the provider now, unexpired; undefined otherwise. */
  current(provider: string): Credential | undefined;
  /** All that is served now. */
  all(): readonly Credential[];
}

/** @param applied is told in turn of each credential; must not throw. */
export function inProcessReceivers(
  clock: Clock,
  applied: (credential: Credential) => void,
): InProcessReceivers {
  const serving = new Map<string, Serving>();
  const alive = ({ credential, until }: Serving): Credential | undefined =>
    clock.now().mono < until ? credential : undefined;
  return {
    start: (_receiver, _spec, done) => done(success(undefined)),
    apply(_receiver, next, done) {
      serving.set(next.credential.provider, next);
      applied(next.credential);
      done(success(undefined));
    },
    withdraw(_receiver, provider, done) {
      serving.delete(provider);
      done(success(undefined));
    },
    stop(done) {
      serving.clear();
      done(success(undefined));
    },
    current(provider) {
      const found = serving.get(provider);
      return found === undefined ? undefined : alive(found);
    },
    all: () => [...serving.values()].flatMap((one) => alive(one) ?? []),
  };
}
