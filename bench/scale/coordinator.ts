/** A coordinator in a process of its own, so that what it costs can be told. */
import { type CoordinatorHandle, launchCoordinator } from "../../src/coordinator/coordinator.ts";
import { durationMs } from "../../src/protocol/time.ts";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { answer, usage } from "../support/child.ts";

export type CoordinatorQuestion =
  | { readonly kind: "start"; readonly file: string }
  | { readonly kind: "usage" }
  /** The rotation that was asked for last, once it is done: from publish to last ack, in milliseconds. */
  | { readonly kind: "settled"; readonly agents: number }
  | { readonly kind: "live" };

let handle: CoordinatorHandle | undefined;

answer(async (question: CoordinatorQuestion) => {
  switch (question.kind) {
    case "start":
      handle = await launchCoordinator({ file: question.file });
      await handle.ready();
      return { joinFile: handle.joinFile, operatorFile: handle.operatorFile, id: handle.id };
    case "usage":
      return usage();
    case "settled":
      return await settled(question.agents);
    case "live":
      return handle?.status().agents.live ?? 0;
  }
});

let seen = 0;

async function settled(agents: number): Promise<number> {
  for (;;) {
    await new Promise<void>((resume) => void systemClock.timer(durationMs(200), resume));
    const last = handle?.status().rotations.at(-1);
    if (last === undefined || last.generation <= seen || last.state !== "done") continue;
    if (last.reason !== "forced") continue;
    if (last.applied !== agents) throw new Error(`${last.applied} of ${agents} applied`);
    seen = last.generation;
    return last.publishToLastAckMs ?? Number.NaN;
  }
}
