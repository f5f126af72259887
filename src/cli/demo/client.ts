/**
 * The demo's consumer: unmodified clients of AWS and Google with their default chains of credentials,
 * which call the services again and again and measure how long they had no credential that was taken.
 */
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { GoogleAuth } from "google-auth-library";
import {
  between,
  type Clock,
  type DurationMs,
  durationMs,
  type MonoMs,
} from "../../protocol/time.ts";
import type { ClientTotals } from "./report.ts";

/** Calls begun and not yet answered; beyond it a tick is left out, so that a hang can't pile up. */
const MOST_PENDING = 50;
const TELL_EVERY = durationMs(500);

export interface DemoClientOptions {
  /** Of STS; absent: AWS is not called. */
  readonly endpoint?: string | undefined;
  readonly region: string;
  /** Of Cloud Storage; absent: Google is not called. */
  readonly googleEndpoint?: string | undefined;
  /** One call is begun every so often, whatever became of those before. */
  readonly every: DurationMs;
  readonly clock: Clock;
  /** Called now and then, and once at the end. */
  readonly tell: (totals: ClientTotals) => void;
}

/** Runs until `stopped` resolves and the calls under way have ended. */
export async function runDemoClient(
  options: DemoClientOptions,
  stopped: Promise<void>,
): Promise<ClientTotals> {
  const { clock } = options;
  const measure = gapMeasure();
  const services = [
    ...(options.endpoint === undefined ? [] : [awsService(options.endpoint, options.region)]),
    ...(options.googleEndpoint === undefined ? [] : [googleService(options.googleEndpoint)]),
  ];
  const pending = new Set<Promise<void>>();
  const call = async (service: DemoService): Promise<void> => {
    const began = clock.now().mono;
    try {
      await service.call();
      measure.succeeded(began);
    } catch (thrown) {
      measure.failed(began, thrown instanceof Error ? thrown.name : typeof thrown);
    }
  };
  let over = false;
  const tick = (): void => {
    if (over) return;
    clock.timer(options.every, tick);
    for (const service of services) {
      if (pending.size >= MOST_PENDING) return;
      const running = call(service).finally(() => pending.delete(running));
      pending.add(running);
    }
  };
  const tell = (): void => {
    if (over) return;
    options.tell(measure.totals(clock.now().mono));
    clock.timer(TELL_EVERY, tell);
  };
  tick();
  tell();
  await stopped;
  over = true;
  const end = clock.now().mono;
  await Promise.all(pending);
  for (const service of services) service.close();
  return measure.totals(end);
}

interface DemoService {
  call(): Promise<unknown>;
  close(): void;
}

function awsService(endpoint: string, region: string): DemoService {
  // Its retries would hide a gap.
  const client = new STSClient({ region, endpoint, maxAttempts: 1 });
  return {
    call: () => client.send(new GetCallerIdentityCommand({})),
    close: () => client.destroy(),
  };
}

function googleService(endpoint: string): DemoService {
  const auth = new GoogleAuth({ scopes: "https://www.googleapis.com/auth/cloud-platform" });
  const url = `${endpoint}/storage/v1/b/demo/o`;
  return { call: () => auth.request({ url, retry: false }), close: () => undefined };
}

/** A gap begins when the first of a row of failed calls begins, and ends when a good one begins. */
export function gapMeasure() {
  let calls = 0;
  let failed = 0;
  let longest = 0;
  let gapSince: MonoMs | undefined;
  const errors: Record<string, number> = {};
  const close = (until: MonoMs): number =>
    gapSince === undefined ? 0 : Math.max(1, between(gapSince, until));
  return {
    succeeded(began: MonoMs): void {
      calls += 1;
      // A call that began before the gap says nothing about its end.
      if (gapSince === undefined || began < gapSince) return;
      longest = Math.max(longest, close(began));
      gapSince = undefined;
    },
    failed(began: MonoMs, name: string): void {
      calls += 1;
      failed += 1;
      errors[name] = (errors[name] ?? 0) + 1;
      if (gapSince === undefined || began < gapSince) gapSince = began;
      // Never 0 once anything has failed.
      longest = Math.max(longest, 1);
    },
    totals(now: MonoMs): ClientTotals {
      return { calls, failed, longestGapMs: Math.max(longest, close(now)), errors: { ...errors } };
    },
  };
}
