/**
 * Following a forced rotation to its end (I7), through handovers and takeovers of the coordinator.
 * A successor does not know the requests of its predecessor, so this side remembers what was asked:
 * each provider's generation before, and who was there to apply a new one.
 */
import type { AgentStatus, JobStatus, RotationStatus } from "../protocol/control.ts";
import { EvergrantError } from "../protocol/errors.ts";
import { between, type Clock, type DurationMs, durationMs } from "../protocol/time.ts";

/** What it asks of the coordinator. Each may fail with `NO_COORDINATOR`. */
export interface RotationSource {
  status(): Promise<JobStatus>;
  agents(): Promise<readonly AgentStatus[]>;
  /** @throws EvergrantError `CONFIG_INVALID` when this coordinator does not know the rotation. */
  rotation(id: string): Promise<RotationStatus>;
  request(): Promise<RotationStatus>;
}

/** What was so when the rotation was asked for. */
export interface RotationBefore {
  readonly generations: ReadonlyMap<string, number>;
  /** Names of live agents. */
  readonly agents: readonly string[];
}

export interface WatchOptions {
  readonly clock: Clock;
  readonly limit: DurationMs;
  readonly poll: DurationMs;
  readonly onProgress?: (rotation: RotationStatus) => void;
}

export async function takeBefore(source: RotationSource): Promise<RotationBefore> {
  const [status, agents] = await Promise.all([source.status(), source.agents()]);
  return {
    generations: new Map(status.providers.map((p) => [p.provider, p.generation])),
    agents: [...new Set(agents.filter((a) => a.state === "live").map((a) => a.agent))],
  };
}

/**
 * The rotation as it stands when it is done or failed, or when `limit` is over.
 * @throws EvergrantError `NO_COORDINATOR` when there is none at the end of the limit, and whatever else
 * the coordinator refuses with.
 */
export async function followRotation(
  source: RotationSource,
  before: RotationBefore,
  requested: RotationStatus,
  options: WatchOptions,
): Promise<RotationStatus> {
  const { clock, limit, poll } = options;
  const began = clock.now().mono;
  let current = requested;
  let silent: EvergrantError | undefined;
  const seen = new Set<string>();
  for (;;) {
    if (current.state === "done" || current.state === "failed") return current;
    if (between(began, clock.now().mono) >= limit) {
      if (silent !== undefined) throw silent;
      return current;
    }
    await new Promise<void>((resume) => void clock.timer(poll, resume));
    try {
      current = await look(source, before, current, seen);
      silent = undefined;
      options.onProgress?.(current);
    } catch (thrown) {
      const error = EvergrantError.from(thrown, "INTERNAL", "asking for the rotation");
      // Between two coordinators there is silence: go on asking.
      if (error.code !== "NO_COORDINATOR") throw error;
      silent = error;
    }
  }
}

async function look(
  source: RotationSource,
  before: RotationBefore,
  current: RotationStatus,
  seen: Set<string>,
): Promise<RotationStatus> {
  try {
    return await source.rotation(current.id);
  } catch (thrown) {
    if (!(thrown instanceof EvergrantError) || thrown.code !== "CONFIG_INVALID") throw thrown;
  }
  // A successor: judge by what is, and ask again only where the predecessor obtained nothing.
  const [status, agents] = await Promise.all([source.status(), source.agents()]);
  const reached = current.providers.map((name) => {
    const now = status.providers.find(({ provider }) => provider === name)?.generation ?? 0;
    return now > (before.generations.get(name) ?? 0) ? now : 0;
  });
  if (reached.includes(0)) return await source.request();
  return judge(current, status, agents, before, seen, Math.max(...reached));
}

function judge(
  current: RotationStatus,
  status: JobStatus,
  agents: readonly AgentStatus[],
  before: RotationBefore,
  seen: Set<string>,
  generation: number,
): RotationStatus {
  const applied = new Set(
    agents.filter((a) => a.generation >= generation && a.state === "live").map((a) => a.agent),
  );
  const live = agents.filter((a) => a.state === "live").map((a) => a.agent);
  const lost = new Set(agents.filter((a) => a.state === "lost").map((a) => a.agent));
  // Those whom the successor has not heard of yet are waited for as well as those it knows. Whom it knew
  // and does not name any more has left.
  for (const { agent } of agents) seen.add(agent);
  const awaited = before.agents.filter((name) => !lost.has(name) && !seen.has(name));
  const lagging = [...new Set([...live, ...awaited])].filter((name) => !applied.has(name));
  const gone = before.agents.filter((name) => lost.has(name));
  return {
    ...current,
    term: status.term,
    generation,
    applied: applied.size,
    missing: [...lagging, ...gone],
    missingCount: lagging.length + gone.length,
    state: lagging.length === 0 ? "done" : "delivering",
  };
}

/** How often the coordinator is asked how a rotation stands. */
export const ROTATION_POLL: DurationMs = durationMs(250);
