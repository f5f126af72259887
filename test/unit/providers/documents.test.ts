/** The documents of the providers name every option that there is, and no code that is none. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as z from "zod";
import { awsStsOptionsSchema } from "../../../src/coordinator/providers/aws-sts/options.ts";
import { execOptionsSchema } from "../../../src/coordinator/providers/exec/options.ts";
import { googleWifOptionsSchema } from "../../../src/coordinator/providers/google-wif/options.ts";
import { classOf, ERROR_CODES, type ErrorCode } from "../../../src/protocol/errors.ts";

const read = (path: string): string =>
  readFileSync(new URL(`../../../docs/${path}`, import.meta.url), "utf8");

/** Names of all properties in a JSON Schema, at any depth. */
function propertiesOf(schema: unknown): string[] {
  if (typeof schema !== "object" || schema === null) return [];
  const own = "properties" in schema ? Object.keys(schema.properties ?? {}) : [];
  return [...own, ...Object.values(schema).flatMap(propertiesOf)];
}

describe.each([
  ["providers/aws-sts.md", awsStsOptionsSchema],
  ["providers/exec.md", execOptionsSchema],
  ["providers/google-wif.md", googleWifOptionsSchema],
])("%s", (path, schema) => {
  const text = read(path);

  test("names every option, and its schema can be published", () => {
    const names = new Set(propertiesOf(z.toJSONSchema(schema, { io: "input" })));
    expect([...names].filter((name) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([]);
  });
});

test.each(["providers/aws-sts.md", "providers/exec.md", "providers/google-wif.md", "plugins.md"])(
  "%s names codes that exist, each under its class",
  (path) => {
    const rows = [...read(path).matchAll(/^\|.*`([A-Z]+_[A-Z_]+)` +\| (\w+) +\|/gm)];
    expect(rows.length).toBeGreaterThan(2);
    for (const [, code = "", named] of rows) {
      expect(ERROR_CODES).toContain(code);
      expect(named).toBe(classOf(code as ErrorCode));
    }
  },
);
