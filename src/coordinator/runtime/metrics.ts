/** What Prometheus sees of a coordinator: a projection of its status at each scrape. No secret, no label without a bound. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { JobStatus } from "../../protocol/control.ts";

/** Names and help texts; docs/operations.md explains each. What ends in `_total` is a counter. */
const METRICS = {
  evergrant_runway_seconds: ["Remaining life of the credential that is held.", "provider"],
  evergrant_provider_generation: ["Generation in which the credential was obtained.", "provider"],
  evergrant_clock_skew_seconds: ["The issuer's clock less this machine's.", "provider"],
  evergrant_next_attempt_seconds: ["Time until the next planned attempt.", "provider"],
  evergrant_consecutive_failures: ["Attempts that failed since the last success.", "provider"],
  evergrant_issuer_calls_total: ["Attempts to obtain, since the job began.", "provider"],
  evergrant_issuer_requests_total: ["HTTP requests under these attempts.", "provider"],
  evergrant_leading: ["1 while this coordinator leads.", undefined],
  evergrant_term: ["The current term.", undefined],
  evergrant_generation: ["The current generation of the bundle.", undefined],
  evergrant_ready: ["1 while every provider's credential is fresh and published.", undefined],
  evergrant_agents: ["Known agents.", "state"],
  evergrant_agents_behind: ["Live agents that have not the current bundle.", undefined],
  evergrant_refused_messages_total: ["Messages that were refused.", "code"],
  evergrant_publish_to_last_ack_seconds: ["Of the newest rotation that is complete.", undefined],
  evergrant_warnings: ["Warnings that stand.", undefined],
} as const satisfies Record<string, readonly [string, string | undefined]>;

type MetricName = keyof typeof METRICS;

type Sample = readonly [name: MetricName, value: number | undefined, label?: string];

/** A registry that projects `status()` once for each scrape. */
export function coordinatorMetrics(status: () => JobStatus): Registry {
  const registry = new Registry();
  const metrics = new Map<string, Gauge | Counter>();
  // Registered first, and so asked first: its projection fills all the others.
  const info = new Gauge({
    name: "evergrant_info",
    help: "1, with the job as labels.",
    labelNames: ["tenant", "job"],
    registers: [registry],
    collect() {
      const now = status();
      for (const metric of metrics.values()) metric.reset();
      info.set({ tenant: now.tenant, job: now.job }, 1);
      for (const [name, value, label] of samples(now)) {
        const labelName = METRICS[name][1];
        const labels = labelName === undefined || label === undefined ? {} : { [labelName]: label };
        if (value !== undefined) metrics.get(name)?.inc(labels, value);
      }
    },
  });
  for (const [name, [help, label]] of Object.entries(METRICS)) {
    const options = {
      name,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [registry],
    };
    metrics.set(name, name.endsWith("_total") ? new Counter(options) : new Gauge(options));
  }
  collectDefaultMetrics({ register: registry });
  return registry;
}

function samples(now: JobStatus): Sample[] {
  const seconds = (ms: number | undefined) => (ms === undefined ? undefined : ms / 1000);
  const complete = now.rotations.findLast((rotation) => rotation.state === "done");
  return [
    ...now.providers.flatMap((p): Sample[] => [
      ["evergrant_runway_seconds", p.runwayMs / 1000, p.provider],
      ["evergrant_provider_generation", p.generation, p.provider],
      ["evergrant_clock_skew_seconds", seconds(p.skewMs), p.provider],
      ["evergrant_next_attempt_seconds", seconds(p.nextAttemptInMs), p.provider],
      ["evergrant_consecutive_failures", p.consecutiveFailures, p.provider],
      ["evergrant_issuer_calls_total", p.issuerCalls, p.provider],
      ["evergrant_issuer_requests_total", p.issuerRequests, p.provider],
    ]),
    ["evergrant_leading", now.phase === "leading" ? 1 : 0],
    ["evergrant_term", now.term],
    ["evergrant_generation", now.generation],
    ["evergrant_ready", now.ready ? 1 : 0],
    ["evergrant_agents", now.agents.live, "live"],
    ["evergrant_agents", now.agents.lost, "lost"],
    ["evergrant_agents_behind", now.agents.live - now.agents.upToDate],
    ...Object.entries(now.refused).map(
      ([code, count]): Sample => ["evergrant_refused_messages_total", count, code],
    ),
    ["evergrant_publish_to_last_ack_seconds", seconds(complete?.publishToLastAckMs)],
    ["evergrant_warnings", now.warnings.length],
  ];
}
