/** A mutation that finds its text no more proves nothing: told at once, before anybody runs the mutations. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { MUTATIONS } from "./mutations.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

describe("a mutation's text stands in its file exactly once", () => {
  it.each(MUTATIONS.map(({ name, edits }) => [name, edits] as const))("%s", (_name, edits) => {
    for (const { file, find } of edits) {
      const source = readFileSync(join(ROOT, file), "utf8");
      expect(source.split(find).length - 1, `"${find}" in ${file}`).toBe(1);
    }
  });
});
