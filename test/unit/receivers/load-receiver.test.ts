import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BUILT_IN_RECEIVERS } from "../../../src/worker-agent/receivers/built-in.ts";
import {
  conventionFor,
  loadReceiverFactory,
} from "../../../src/worker-agent/receivers/load-receiver.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "evergrant-plugins-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function install(name: string, source: string, manifest: object = { exports: "./index.js" }): void {
  const folder = join(dir, "node_modules", name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ name, type: "module", ...manifest }),
  );
  writeFileSync(join(folder, "index.js"), source);
}

const receiver = (kind: string): string => `export const receiver = {
  kind: ${JSON.stringify(kind)}, serves: ["x"], byConvention: false,
  options: { safeParse: (data) => ({ success: true, data }) }, create: () => ({}),
};`;

test("each built-in receiver loads under its own name, and its table says what its factory says", async () => {
  expect([...BUILT_IN_RECEIVERS.keys()]).toEqual(
    expect.arrayContaining(["aws-container", "aws-process", "file", "exec"]),
  );
  for (const [kind, { conventionFor: convention }] of BUILT_IN_RECEIVERS) {
    const factory = await loadReceiverFactory(kind, dir);
    expect(factory.kind).toBe(kind);
    expect(factory.byConvention).toBe(convention !== undefined);
    if (convention !== undefined) expect(factory.serves).toContain(convention);
  }
});

test("by convention an AWS session goes to the container endpoint, an unknown kind to nobody", async () => {
  expect((await conventionFor("aws-session"))?.kind).toBe("aws-container");
  expect(await conventionFor("something-else")).toBeUndefined();
});

test.each([
  ["a main file", { main: "./index.js" }],
  ["exports as a path", { exports: "./index.js" }],
  ["exports for import only", { exports: { ".": { types: "./x.d.ts", import: "./index.js" } } }],
  ["nested conditions", { exports: { import: { default: "./index.js" } } }],
])("a package with %s is loaded from the configuration's folder", async (_what, manifest) => {
  install("@acme/receiver", receiver("@acme/receiver"), manifest);
  expect((await loadReceiverFactory("@acme/receiver", dir)).kind).toBe("@acme/receiver");
});

test.each([
  ["", "has no export named receiver"],
  [receiver("another"), 'exports a receiver whose kind is not "plugin"'],
  [receiver("plugin").replace('["x"]', "[]"), "serves is no list"],
  [receiver("plugin").replace("false", "0"), "byConvention is no boolean"],
  [receiver("plugin").replace("safeParse", "parse"), "options is no zod schema"],
  [receiver("plugin").replace("create", "made"), "without create"],
  ["throw new Error('hush')", 'loading receiver package "plugin" failed (Error)'],
  ["export const {", 'loading receiver package "plugin" failed (SyntaxError)'],
])("a package that says %j is unusable, and the reason is told", async (source, words) => {
  install("plugin", source);
  const loading = loadReceiverFactory("plugin", dir);
  await expect(loading).rejects.toMatchObject({
    code: "PLUGIN_UNUSABLE",
    message: expect.stringContaining(words),
  });
});

test.each([
  "aws-contaner",
  "@acme/missing",
  "../escape",
  "/etc/passwd",
  "node:fs",
  "file:///x",
  "",
])("the kind %j is neither built in nor installed", async (kind) => {
  await expect(loadReceiverFactory(kind, dir)).rejects.toMatchObject({
    code: "PLUGIN_UNUSABLE",
    message: expect.stringContaining(`there is no receiver "${kind}": built in are aws-container`),
  });
});
