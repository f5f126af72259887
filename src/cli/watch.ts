/**
 * `evergrant watch`: the job as a table that is redrawn in the terminal; without one, a line for each
 * change. Goes on through handovers and says when there is no coordinator.
 */
import type { Command } from "commander";
import type { OperatorClient } from "../operator/operator-client.ts";
import type { AgentStatus, JobStatus } from "../protocol/control.ts";
import { EvergrantError, EXIT } from "../protocol/errors.ts";
import { type DurationMs, toRfc3339 } from "../protocol/time.ts";
import { durationOption, parseDuration } from "./arguments.ts";
import { type CliIo, say } from "./io.ts";
import { asOperator, type OperatorOptions, withOperator } from "./operator-option.ts";
import type { Finish } from "./program.ts";
import { renderAgents, renderStatus } from "./render-status.ts";
import { onStop } from "./signals.ts";

interface WatchOptions extends OperatorOptions {
  readonly every: DurationMs;
  readonly for?: DurationMs;
}

type Seen = { status: JobStatus; agents: readonly AgentStatus[] } | { silent: string };

export function registerWatch(program: Command, io: CliIo, finish: Finish): void {
  withOperator(program.command("watch"))
    .description("follow the job live until Ctrl-C")
    .addOption(durationOption("--every <duration>", "how often to ask", 1))
    .option("--for <duration>", "end after so long (default: at Ctrl-C)", parseDuration)
    .action(async (options: WatchOptions) => {
      await asOperator(options, io, (client) => watch(client, options, io));
      finish(EXIT.done);
    });
}

function watch(client: OperatorClient, options: WatchOptions, io: CliIo): Promise<void> {
  const { clock } = io;
  let last = "";
  let over = false;
  const show = (seen: Seen): void => {
    if (options.json === true) say(io, JSON.stringify(seen));
    else if (io.terminal) io.stdout(`\u001b[H\u001b[2J${screen(seen)}`);
    else {
      const line = summary(seen);
      if (line !== last) say(io, `${toRfc3339(clock.now().wall)} ${line}`);
      last = line;
    }
  };
  return new Promise<void>((resolve) => {
    const end = (): void => {
      over = true;
      release();
      resolve();
    };
    const release = onStop(io, end, end);
    if (options.for !== undefined) clock.timer(options.for, end, true);
    const round = async (): Promise<void> => {
      const seen = await look(client);
      if (over) return;
      show(seen);
      clock.timer(options.every, () => void round());
    };
    void round();
  });
}

async function look(client: OperatorClient): Promise<Seen> {
  try {
    const [status, agents] = await Promise.all([client.status(), client.agents()]);
    return { status, agents };
  } catch (thrown) {
    return { silent: EvergrantError.from(thrown, "INTERNAL", "asking the coordinator").message };
  }
}

function screen(seen: Seen): string {
  if ("silent" in seen) return `${seen.silent}\n`;
  return `${renderStatus(seen.status)}\n${renderAgents(seen.agents)}`;
}

/** What is worth a line when it changes: nothing that changes by itself, such as a runway. */
function summary(seen: Seen): string {
  if ("silent" in seen) return seen.silent;
  const { status } = seen;
  const providers = status.providers.map((p) => `${p.provider} ${p.state} g${p.generation}`);
  const { live, upToDate, lost } = status.agents;
  const state = status.ready ? "ready" : `not ready (${status.reasons.join("; ")})`;
  return `${state}, term ${status.term}; ${providers.join(", ")}; agents ${upToDate}/${live} up to date, ${lost} lost`;
}
