/**
 * A process with any number of in-process agents, for system tests: watches what each of them would
 * hand out, and answers questions on standard input. Its oracle is its own: an instant of true wall
 * time from the machine's monotonic clock, which no stepped clock reaches.
 */
import { createInterface } from "node:readline";
import { durationMs } from "../../../src/protocol/time.ts";
import type { Logger } from "../../../src/runtime/logger.ts";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { type JobMembership, joinJob } from "../../../src/worker-agent/join-job.ts";
import type { AgentReport, AgentsOptions } from "./agents-process.ts";

/** Between two looks at every agent. */
const LOOK_MS = 25;

const options = JSON.parse(process.argv[2] ?? "{}") as AgentsOptions & {
  readonly joinFile: string;
  /** True wall time less the machine's monotonic clock, both in milliseconds. */
  readonly trueOffsetMs: number;
};

const trueNow = (): number => Number(process.hrtime.bigint()) / 1e6 + options.trueOffsetMs;
const say = (fields: object): void => void process.stdout.write(`${JSON.stringify(fields)}\n`);

interface Watched {
  readonly membership: JobMembership;
  readonly report: { -readonly [K in keyof AgentReport]: AgentReport[K] };
  /** Since when it has had nothing to hand out. */
  gapSince: number | undefined;
}

/** Turns the agent's log into its timeline. */
function timeline(agent: string, sink: (event: string, facts: Record<string, unknown>) => void) {
  const logger: Logger = {
    debug: () => undefined,
    info: (facts, message) => {
      sink(message, { ...facts });
      if (message !== "applied") say({ agent, message, ...facts });
    },
    warn: (facts, message) => say({ agent, message, level: "warn", ...facts }),
    error: (facts, message) => say({ agent, message, level: "error", ...facts }),
    child: () => logger,
  };
  return logger;
}

const fresh = (agent: string): Watched["report"] => ({
  agent,
  looks: 0,
  lowestRunwayMs: Number.MAX_SAFE_INTEGER,
  gaps: 0,
  longestGapMs: 0,
  servedExpired: 0,
  regressions: 0,
  versions: [],
  registrations: 0,
  refused: {},
});

async function watch(index: number): Promise<Watched> {
  const name = `${options.namePrefix ?? "executor"}-${index}`;
  let watched: Watched | undefined;
  const early: [number, number][] = [];
  let registrations = 0;
  const logger = timeline(name, (event, facts) => {
    if (event === "registered") {
      registrations += 1;
      if (watched !== undefined) watched.report.registrations += 1;
    } else if (event === "a newer bundle") {
      const version: [number, number] = [Number(facts["term"]), Number(facts["generation"])];
      if (watched === undefined) early.push(version);
      else note(watched, version);
    }
  });
  const membership = await joinJob({
    joinFile: options.joinFile,
    name,
    logger,
    ...(options.timings === undefined ? {} : { timings: options.timings }),
    ...(options.stateDir === undefined ? {} : { stateDir: `${options.stateDir}/${name}` }),
  });
  watched = { membership, report: fresh(name), gapSince: undefined };
  watched.report.registrations = registrations;
  for (const version of early) note(watched, version);
  return watched;
}

/** I1: what comes after must be above what was. */
function note({ report }: Watched, version: [number, number]): void {
  const last = report.versions.at(-1);
  if (
    last !== undefined &&
    (version[0] < last[0] || (version[0] === last[0] && version[1] <= last[1]))
  ) {
    report.regressions += 1;
  }
  report.versions = [...report.versions, version];
}

function look(watched: Watched): void {
  const { membership, report } = watched;
  for (const provider of options.providers ?? ["lake"]) {
    // Read first: a pause between the two must not make a good answer look late.
    const now = trueNow();
    const credential = membership.current(provider);
    if (credential === undefined) {
      if (report.versions.length === 0) continue;
      if (watched.gapSince === undefined) {
        watched.gapSince = now;
        report.gaps += 1;
        say({ agent: report.agent, message: "gap" });
      }
      report.longestGapMs = Math.max(report.longestGapMs, now - watched.gapSince);
      report.lowestRunwayMs = 0;
      continue;
    }
    if (watched.gapSince !== undefined) {
      say({ agent: report.agent, message: "gap ended", lastedMs: now - watched.gapSince });
      watched.gapSince = undefined;
    }
    const left = credential.expiresAt - now;
    report.looks += 1;
    // I2, judged by a clock that the agent does not have.
    if (left < -(options.toleranceMs ?? 0)) report.servedExpired += 1;
    report.lowestRunwayMs = Math.min(report.lowestRunwayMs, left);
  }
}

const all = await Promise.all(Array.from({ length: options.count }, (_, index) => watch(index)));
const lookAll = (): void => {
  for (const watched of all) look(watched);
};
const keepLooking = (): void => {
  lookAll();
  systemClock.timer(durationMs(LOOK_MS), keepLooking);
};
keepLooking();

createInterface({ input: process.stdin }).on("line", (text) => {
  const command = JSON.parse(text) as { readonly ask: string; readonly id: number };
  if (command.ask === "report") {
    lookAll();
    globalThis.gc?.(); // what is left then is in use
    const memory = process.memoryUsage();
    say({
      answer: command.id,
      agents: all.map(({ membership, report }) => {
        const health = membership.health();
        return { ...report, ...pick(health), refused: health.refused };
      }),
      process: {
        heapUsed: memory.heapUsed,
        rss: memory.rss,
        resources: process.getActiveResourcesInfo().length,
      },
    });
  } else if (command.ask === "mark") {
    for (const watched of all) {
      const { agent, versions } = watched.report;
      const last = versions.at(-1);
      Object.assign(watched.report, fresh(agent), { versions: last === undefined ? [] : [last] });
    }
    say({ answer: command.id });
  } else if (command.ask === "close") {
    void Promise.all(all.map(({ membership }) => membership.close())).then(() => process.exit(0));
  }
});

function pick(health: ReturnType<JobMembership["health"]>) {
  const { term, generation, joining, connected } = health;
  return { term, generation, joining, connected };
}
say({ message: "agents started", count: all.length });
