/** The agent's metrics, made only where they are served. Values are read at each scrape. */
import { Counter, Gauge, Registry } from "prom-client";
import type { News } from "./core/events.ts";
import type { AgentHealth } from "./core/health.ts";

export interface AgentMetrics {
  readonly registry: Registry;
  /** Counts what is told. */
  hear(news: News): void;
}

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
    name: "evergrant_agent_runway_seconds",
    help: "Remaining life of the credential that is held, 0 when there is none",
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
  return {
    registry,
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
