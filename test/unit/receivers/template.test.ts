import { execFileSync } from "node:child_process";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  fillTemplate,
  parseTemplate,
  templateFaults,
} from "../../../src/worker-agent/receivers/file/template.ts";

/** A field as templates write it; kept apart so that no template literal of ours is meant. */
const field = (inside: string): string => `\${${inside}}`;
const fill = (text: string, document: object): string =>
  fillTemplate(parseTemplate(text), document);

test("fields are put in by their path, the rest stays as it is", () => {
  const document = { a: { b: "x" }, n: 7, yes: true };
  expect(fill(`<${field("a.b")}> $5 ${field("n")}${field("yes")}\n`, document)).toBe(
    "<x> $5 7true\n",
  );
});

test("a doubled dollar sign gives a literal field", () => {
  expect(fill(`$${field("a")} ${field("a")}`, { a: "x" })).toBe(`${field("a")} x`);
});

test("the json filter gives a JSON value, of whatever type", () => {
  void fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(fill(field("v|json"), { v: value }))).toEqual(
        JSON.parse(JSON.stringify(value)),
      );
    }),
  );
});

test("the jsonText filter escapes for the inside of a JSON string", () => {
  void fc.assert(
    fc.property(fc.string(), (value) => {
      expect(JSON.parse(`"${fill(field("v|jsonText"), { v: value })}"`)).toBe(value);
    }),
  );
});

test("the shell filter gives one word that no shell looks into", () => {
  for (const value of ["", "plain", "it's", 'a b\n$(id) `id` \\ "q" ;|&', "'''", "-n"]) {
    const script = `printf %s ${fill(field("v|shell"), { v: value })}`;
    expect(execFileSync("sh", ["-c", script], { encoding: "utf8" })).toBe(value);
  }
});

test("a value is never read as a template", () => {
  expect(fill(field("a"), { a: field("secret"), secret: "hush" })).toBe(field("secret"));
});

test.each([
  ["", "is not of the form"],
  ["a b", "is not of the form"],
  ["a..b", "is not of the form"],
  ["a|", "is not of the form"],
  ["a|upper", "has an unknown filter; there are raw, json, jsonText, shell"],
  ["a|constructor", "has an unknown filter"],
])("the field %j is a fault of the template", (inside, words) => {
  expect(templateFaults(field(inside))).toEqual([expect.stringContaining(words)]);
  expect(() => parseTemplate(field(inside))).toThrow(words);
});

test("a field that is not closed is a fault", () => {
  expect(templateFaults("x $" + "{a.b")).toEqual([expect.stringContaining("no closing brace")]);
});

test.each([
  ["a.missing", "is not in this credential"],
  ["constructor", "is not in this credential"],
  ["a", "cannot be put as raw"],
  ["list|shell", "cannot be put as shell"],
])("the field %j fails the write, with its name and no value", (inside, words) => {
  const document = { a: { b: "hush" }, list: ["hush"] };
  expect(() => fill(field(inside), document)).toThrow(words);
  expect(() => fill(field(inside), document)).not.toThrow("hush");
});
