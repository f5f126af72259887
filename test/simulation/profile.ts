/** What kind of world a seed makes: its size, its intervals, its providers and which faults it knows. */
import { DEFAULT_TIMING, type Timing } from "../../src/coordinator/core/settings.ts";
import { type DurationMs, durationMs } from "../../src/protocol/time.ts";
import { type AgentTimings, DEFAULT_TIMINGS } from "../../src/worker-agent/core/settings.ts";
import type { Chance } from "./chance.ts";

export const FAULTS = [
  "crash",
  "crash-at-effect",
  "pause",
  "hand-over",
  "cut",
  "weather",
  "nats-down",
  "nats-frozen",
  "nats-wiped",
  "redis-away",
  "redis-wiped",
  "redis-doubled",
  "redis-early",
  "both-wiped",
  "issuer",
  "receiver",
  "disk",
  "clock-jump",
  "demand",
  "rotate",
  "config-change",
  "replay",
  "agent-restart",
  "late-agent",
  "twin",
  "redis-unsure",
] as const;
export type Fault = (typeof FAULTS)[number];

export interface ProviderProfile {
  readonly name: string;
  /** As the issuer grants it, in true ms. */
  readonly lifetime: number;
  readonly minRemaining: number;
  readonly callTimeout: number;
  /** The issuer names no expiry; the configuration assumes this. */
  readonly assumedLifetime: number | undefined;
  /** Answers with the same bytes and a later expiry, this many times. */
  readonly renewals: number;
  /** The issuer's clock less true time. */
  readonly skew: number;
  /** Whether its answers bear a `Date`. */
  readonly dated: boolean;
  readonly cancels: boolean;
}

export interface Profile {
  readonly seed: number;
  /** One seed in fifty seals and opens with the product's keys and ciphers: that costs real time. */
  readonly sealing: "stand-in" | "jose";
  readonly scale: number;
  readonly timing: Timing;
  readonly agentTimings: AgentTimings;
  readonly coordinators: number;
  readonly agents: number;
  readonly persistentAgents: boolean;
  readonly providers: readonly ProviderProfile[];
  /** Faults begin and end within this time. */
  readonly troubled: number;
  /** Afterwards all is well, and by the end of this all must be. */
  readonly settle: number;
  readonly faults: readonly Fault[];
  /** Mean time between two faults. */
  readonly every: number;
  /** Wall clocks differ from true time by at most this, unless they jump. */
  readonly wallSpread: number;
  readonly endsJob: boolean;
  /** A coordinator may start with a clock that has jumped. Nobody promises to be on time then. */
  readonly insaneClocks: boolean;
}

const scaled = (by: number, value: DurationMs): DurationMs => durationMs(value * by);

function timingOf(by: number): Timing {
  const entries = Object.entries(DEFAULT_TIMING).map(([name, value]) => [name, scaled(by, value)]);
  return Object.fromEntries(entries) as Timing;
}

function agentTimingsOf(by: number): AgentTimings {
  const t = DEFAULT_TIMINGS;
  const ladder = (l: AgentTimings["registerRetry"]) => ({
    first: scaled(by, l.first),
    last: scaled(by, l.last),
  });
  return {
    registerRetry: ladder(t.registerRetry),
    receiverRetry: ladder(t.receiverRetry),
    catchUpSpread: scaled(by, t.catchUpSpread),
    registerSpread: scaled(by, t.registerSpread),
    beat: scaled(by, t.beat),
    receiverTimeout: scaled(by, t.receiverTimeout),
    // A step of the wall clock is seen at the same size, however fast all else goes.
    parted: t.parted,
  };
}

export function profileOf(seed: number, chance: Chance): Profile {
  const scale = chance.weighted({ "0.1": 6, "0.3": 3, "1": 1 });
  const by = Number(scale);
  const size = chance.weighted({ tiny: 60, small: 30, middling: 9, large: 1 });
  const agents = {
    tiny: () => chance.whole(1, 3),
    small: () => chance.whole(2, 6),
    middling: () => chance.whole(6, 15),
    large: () => 50,
  }[size]();
  const coordinators = Number(chance.weighted({ "1": 4, "2": 4, "3": 2 }));
  const timing = timingOf(by);
  const providers = Array.from(
    { length: Number(chance.weighted({ "1": 5, "2": 3, "3": 2 })) },
    (_, i): ProviderProfile => {
      const lifetime = Math.round(chance.pick([600, 900, 1800]) * by * 1000);
      return {
        name: `p${i + 1}`,
        lifetime,
        minRemaining: chance.happens(0.3) ? Math.round(lifetime * chance.between(0.2, 0.6)) : 0,
        callTimeout: Math.max(1000, timing.leaseTtl * chance.between(0.1, 0.33)),
        assumedLifetime: chance.happens(0.1) ? Math.round(lifetime * 0.9) : undefined,
        renewals: chance.happens(0.2) ? chance.whole(1, 4) : 0,
        skew: chance.happens(0.4) ? Math.round(chance.between(-1, 1) * lifetime * 0.02) : 0,
        dated: chance.happens(0.7),
        cancels: chance.happens(0.3),
      };
    },
  );
  const longest = Math.max(...providers.map((p) => p.lifetime));
  const calm = chance.happens(0.05);
  const share = chance.pick([0.1, 0.25, 0.5, 0.9]);
  const faults = calm ? [] : FAULTS.filter(() => chance.happens(share));
  return {
    seed,
    sealing: seed % 50 === 0 ? "jose" : "stand-in",
    scale: by,
    timing,
    agentTimings: agentTimingsOf(by),
    coordinators,
    agents,
    persistentAgents: chance.happens(0.5),
    providers,
    troubled: longest * (size === "large" ? 1 : chance.between(1, 3)),
    settle: Math.max(1.6 * timing.retryMax, 0.5 * longest, 3 * timing.leaseTtl),
    faults,
    every: longest * chance.pick([0.03, 0.1, 0.3]),
    wallSpread: chance.happens(0.5) ? 0 : 0.01 * Math.min(...providers.map((p) => p.lifetime)),
    endsJob: chance.happens(0.1),
    // Without a date in its answers nobody can tell an issuer's clock from one's own.
    insaneClocks:
      faults.includes("clock-jump") && chance.happens(0.2) && providers.every((p) => p.dated),
  };
}
