import fc from "fast-check";
import { expect, test } from "vitest";
import { asciiJson, inlinePolicy } from "../../../src/coordinator/providers/aws-sts/options.ts";
import {
  type PolicyDocument,
  type Scope,
  scopesPolicy,
} from "../../../src/coordinator/providers/aws-sts/session-policy.ts";
import { iamAllows, iamMatches } from "./iam-glob.ts";

const scope = (prefix: string, more: Partial<Scope> = {}): Scope => ({
  bucket: "data",
  prefix,
  access: "read",
  list: true,
  barePrefix: false,
  ...more,
});
const get = (key: string) => ({ action: "s3:GetObject", resource: `arn:aws:s3:::data/${key}` });
const list = (prefix: string) => ({
  action: "s3:ListBucket",
  resource: "arn:aws:s3:::data",
  prefix,
});
const folder = (prefix: string): string =>
  prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;

const braced = (inner: string): string => `$\{${inner}}`;

/** Keys made of few characters, so that one often lies under the other or nearly so. */
const key = fc
  .array(fc.constantFrom("a", "b", "/", "*", "?", "$", "{", "}", "_", "é", "\u4e2d", "."), {
    maxLength: 8,
  })
  .map((parts) => parts.join(""));
const prefix = key.filter((text) => !text.startsWith("/"));
/** What travels: the policy as it is sent, parsed again. */
const sent = (scopes: readonly Scope[]): PolicyDocument =>
  JSON.parse(asciiJson(scopesPolicy(scopes, "aws"))) as PolicyDocument;

test("the evaluator of these tests knows IAM's wildcards and their escapes", () => {
  expect(iamMatches("a*c?", "abbcd")).toBe(true);
  expect(iamMatches(braced("*"), "*")).toBe(true);
  expect(iamMatches(braced("*"), "x")).toBe(false);
  expect(iamMatches(`${braced("$")}{*}`, braced("anything"))).toBe(true);
  expect(iamMatches(braced("aws:username"), braced("aws:username"))).toBe(false);
});

test("a policy for a prefix grants a key if and only if the key lies under the prefix", () => {
  fc.assert(
    fc.property(prefix, key, fc.boolean(), (granted, asked, under) => {
      const wanted = under ? folder(granted) + asked : asked;
      const policy = sent([scope(granted)]);
      expect(iamAllows(policy, get(wanted))).toBe(wanted.startsWith(folder(granted)));
    }),
    { numRuns: 2_000 },
  );
});

test("listing is granted exactly for prefixes under the folder", () => {
  fc.assert(
    fc.property(prefix, key, fc.boolean(), (granted, asked, under) => {
      const wanted = under ? folder(granted) + asked : asked;
      const policy = sent([scope(granted)]);
      expect(iamAllows(policy, list(wanted))).toBe(wanted.startsWith(folder(granted)));
    }),
    { numRuns: 2_000 },
  );
});

test("several scopes grant the union of what each grants, and no action of another's", () => {
  fc.assert(
    fc.property(prefix, prefix, key, (readable, writable, asked) => {
      const policy = sent([scope(readable), scope(writable, { access: "write" })]);
      const put = { action: "s3:PutObject", resource: `arn:aws:s3:::data/${asked}` };
      expect(iamAllows(policy, get(asked))).toBe(asked.startsWith(folder(readable)));
      expect(iamAllows(policy, put)).toBe(asked.startsWith(folder(writable)));
    }),
  );
});

test("a folder's siblings that begin alike are not granted", () => {
  const policy = sent([scope("data")]);
  expect(iamAllows(policy, get("data/x"))).toBe(true);
  expect(iamAllows(policy, get("data_of_others/x"))).toBe(false);
  expect(iamAllows(policy, list("data"))).toBe(false);
});

test("the bare prefix is listed only where it is asked for", () => {
  expect(iamAllows(sent([scope("in", { barePrefix: true })]), list("in"))).toBe(true);
  expect(iamAllows(sent([scope("in", { barePrefix: true })]), list("in2"))).toBe(false);
});

test("without list, nothing is listed; an empty prefix is the whole bucket and no other", () => {
  expect(iamAllows(sent([scope("in", { list: false })]), list("in/"))).toBe(false);
  const whole = sent([scope("")]);
  expect(iamAllows(whole, get("anything"))).toBe(true);
  expect(iamAllows(whole, list(""))).toBe(true);
  const other = { action: "s3:GetObject", resource: "arn:aws:s3:::data2/x" };
  expect(iamAllows(whole, other)).toBe(false);
});

test("no scopes deny everything, also what another policy would allow", () => {
  const policy = sent([]);
  expect(policy.Statement).toEqual([{ Effect: "Deny", Action: "*", Resource: "*" }]);
  expect(iamAllows(policy, get("x"))).toBe(false);
});

test("ARNs are of the role's partition", () => {
  const text = inlinePolicy({
    roleArn: "arn:aws-cn:iam::123456789012:role/lake",
    scopes: [scope("in")],
  });
  expect(text).toContain("arn:aws-cn:s3:::data/in/*");
  expect(text).not.toContain("arn:aws:");
});

test("a policy is printable ASCII, whatever the prefix", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(asciiJson(scopesPolicy([scope(text)], "aws"))).toMatch(/^[\x20-\x7e]*$/);
    }),
  );
});
