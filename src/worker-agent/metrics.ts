/** The agent's metrics, made only where they are served. Values are read at each scrape. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { News } from "./core/events.ts";
import type { AgentHealth } from "./core/health.ts";
import type { ReceiverSpec } from "./core/settings.ts";
import type { ConsumerRequest } from "./ports/credential-receiver.ts";

export interface AgentMetrics {
  readonly registry: Registry;
  /** Counts what is told. */
  hear(news: News): void;
  /** Counts a consumer's request to a receiver. */
  observe(receiver: ReceiverSpec, request: ConsumerRequest): void;
}

/** In seconds. The bounds are where client SDKs change their ways: 5, 10, 15 and 16 minutes. */
const LIFE_BUCKETS = [0, 60, 300, 600, 900, 960, 1800, 3600, 7200, 14_400, 43_200];

export function agentMetrics(health: () => AgentHealth): AgentMetrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, read: (health: AgentHealth) => number | undefined) =>
    new Gauge({
      name: `evergrant_agent_${name}`,
      help,
      registers,
      collect() {
        const value = read(health());
        if (value === undefined) this.reset();
        else this.set(value);
      },
    });
  new Gauge({
    name: "evergrant_runway_seconds",
    help: "Remaining life of the credential that is served, 0 when there is none",
    labelNames: ["provider"],
    registers,
    collect() {
      this.reset();
      for (const [provider, ms] of Object.entries(health().runwayMs)) {
        this.set({ provider }, ms / 1000);
      }
    },
  });
  gauge("generation", "Generation of the bundle that is held", ({ generation }) => generation);
  gauge("term", "Term of the bundle that is held", ({ term }) => term);
  gauge("ready", "1 when every provider is applied and unexpired", ({ ready }) => Number(ready));
  gauge("connected", "1 while there is a connection to the broker", (h) => Number(h.connected));
  gauge("since_bundle_seconds", "Since the last bundle was heard", ({ sinceBundle }) =>
    sinceBundle === undefined ? undefined : sinceBundle / 1000,
  );
  gauge("clock_skew_seconds", "This clock less the coordinator's", ({ skew }) =>
    skew === undefined ? undefined : skew / 1000,
  );
  const refused = new Counter({
    name: "evergrant_agent_refused_total",
    help: "Messages that were refused",
    labelNames: ["code"],
    registers,
  });
  const applies = new Counter({
    name: "evergrant_agent_receiver_applies_total",
    help: "Credentials that receivers were given, by outcome",
    labelNames: ["kind", "provider", "outcome"],
    registers,
  });
  const registrations = new Counter({
    name: "evergrant_agent_registrations_total",
    help: "Attempts to register, by outcome",
    labelNames: ["outcome"],
    registers,
  });
  const requests = new Counter({
    name: "evergrant_agent_requests_total",
    help: "Requests of consumers, by outcome and client; the agent's own are `probe`",
    labelNames: ["kind", "provider", "outcome", "client"],
    registers,
  });
  const life = new Histogram({
    name: "evergrant_agent_served_life_seconds",
    help: "Remaining life of what consumers were answered with",
    labelNames: ["kind", "provider"],
    buckets: LIFE_BUCKETS,
    registers,
  });
  return {
    registry,
    observe({ kind, provider }, { outcome, client, remaining }) {
      requests.inc({ kind, provider, outcome, client });
      if (outcome === "served" && remaining !== undefined) {
        life.observe({ kind, provider }, remaining / 1000);
      }
    },
    hear(news) {
      switch (news.kind) {
        case "refused":
          refused.inc({ code: news.code });
          return;
        case "applied":
          applies.inc({ ...news.receiver, outcome: "applied" });
          return;
        case "receiver-failed":
          applies.inc({ ...news.receiver, outcome: "failed" });
          return;
        case "joined":
          registrations.inc({ outcome: "joined" });
          return;
        case "not-joined":
          registrations.inc({ outcome: news.code });
          return;
        default:
      }
    },
  };
}
