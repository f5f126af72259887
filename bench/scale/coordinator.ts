/** A coordinator in a process of its own, so that what it costs can be told. */
import { type CoordinatorHandle, launchCoordinator } from "../../src/coordinator/coordinator.ts";
import { answer, usage } from "../support/child.ts";

export type CoordinatorQuestion =
  | { readonly kind: "start"; readonly file: string }
  | { readonly kind: "usage" }
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
    case "live":
      return handle?.status().agents.live ?? 0;
  }
});
