/**
 * `evergrant rotate`: obtains new credentials now. With `--wait` it ends when every live agent has
 * applied them (0), the issuer has refused (1), or the time is over with agents missing (3).
 */
import type { Command } from "commander";
import type { RotationStatus } from "../protocol/control.ts";
import { EvergrantError, EXIT } from "../protocol/errors.ts";
import { type DurationMs, seconds } from "../protocol/time.ts";
import { collectNames, parseDuration } from "./arguments.ts";
import { type CliIo, note, sayJson } from "./io.ts";
import { asOperator, type OperatorOptions, withOperator } from "./operator-option.ts";
import type { Finish } from "./program.ts";
import { renderRotation } from "./render-status.ts";

interface RotateOptions extends OperatorOptions {
  readonly provider?: string[];
  readonly reason: string;
  /** `true` without a value. */
  readonly wait?: DurationMs | true;
}

export const DEFAULT_WAIT: DurationMs = seconds(60);

/** 0, 1 or 3, once nobody waits any more. */
export function exitCodeOfRotation(rotation: RotationStatus): number {
  if (rotation.state === "done") return EXIT.done;
  if (rotation.state === "delivering") return EXIT.agentsMissing;
  // Failed, or nothing was obtained in all the time: no agent is to blame.
  return EXIT.failed;
}

export function registerRotate(program: Command, io: CliIo, finish: Finish): void {
  withOperator(program.command("rotate"))
    .description("obtain new credentials now and have every agent apply them")
    .option(
      "--provider <name>",
      "only this provider; may be given again (default: all)",
      collectNames,
    )
    .requiredOption("--reason <text>", "why, for the audit")
    .option(
      "--wait [duration]",
      "end when every live agent has applied it (default 60s); exit 3 names the missing",
      parseDuration,
    )
    .action(async (options: RotateOptions) => {
      const { provider: providers, reason: text, wait } = options;
      if (text.length > 500) {
        throw new EvergrantError("CONFIG_INVALID", "--reason has more than 500 characters");
      }
      let shown = "";
      const rotation = await asOperator(options, io, (client) =>
        client.rotate({
          text,
          ...(providers === undefined ? {} : { providers }),
          ...(wait === undefined ? {} : { wait: wait === true ? DEFAULT_WAIT : wait }),
          onProgress: (seen) => {
            const line = renderRotation(seen).trimEnd();
            if (options.json !== true && line !== shown && seen.state !== "done") note(io, line);
            shown = line;
          },
        }),
      );
      if (options.json === true) sayJson(io, rotation);
      else io.stdout(renderRotation(rotation));
      finish(wait === undefined ? EXIT.done : exitCodeOfRotation(rotation));
    });
}
