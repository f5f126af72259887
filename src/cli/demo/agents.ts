/** Many agents in one process, for demos with more of them than a machine has room for as processes. */
import { join } from "node:path";
import { seconds } from "../../protocol/time.ts";
import { createLogger } from "../../runtime/logger.ts";
import { type Agent, startAgent } from "../../worker-agent/agent.ts";
import type { CliIo } from "../io.ts";
import { onParentGone } from "../parent.ts";
import { onStop } from "../signals.ts";

export interface DemoAgentsOptions {
  readonly join: string;
  readonly stateDir: string;
  /** They are `agent-<first>` and the following. */
  readonly first: number;
  readonly count: number;
}

/** Runs them until the process is told to stop, or its parent ends. */
export async function runDemoAgents(options: DemoAgentsOptions, io: CliIo): Promise<void> {
  const stopped = new Promise<void>((stop) => {
    onStop(
      io,
      () => stop(),
      () => stop(),
    );
    onParentGone(io.clock, stop);
  });
  const logger = createLogger({ name: "agents", level: "warn" });
  const agents: Agent[] = [];
  for (let number = options.first; number < options.first + options.count; number += 1) {
    const name = `agent-${number}`;
    agents.push(
      await startAgent({
        joinFile: options.join,
        config: { name, stateDir: join(options.stateDir, name) },
        startTimeoutMs: seconds(60),
        logger,
        clock: io.clock,
        random: io.random,
      }),
    );
  }
  await stopped;
  await Promise.all(agents.map((agent) => agent.close()));
}
