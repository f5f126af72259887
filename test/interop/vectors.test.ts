/** The vectors open in Python, with libraries that nobody here wrote: the specification is enough. */
import { fileURLToPath } from "node:url";
import { beforeAll, expect, it } from "vitest";
import { type PythonTools, pythonTools, runTool } from "./support/python.ts";

let python: PythonTools;
beforeAll(async () => {
  python = await pythonTools();
});

it("keys, bundle, registration, reports and signed documents open in Python as they do here", async () => {
  const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
  const printed = await runTool(python.program("python"), [
    here("vectors_check.py"),
    here("../vectors"),
  ]);
  const proofs = printed.trim().split("\n");
  expect(proofs).toHaveLength(17);
  expect(printed).not.toContain("FAILED");
});
