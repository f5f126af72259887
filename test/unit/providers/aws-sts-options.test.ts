import { expect, test } from "vitest";
import { awsStsOptionsSchema } from "../../../src/coordinator/providers/aws-sts/options.ts";

const role = {
  action: "AssumeRole",
  roleArn: "arn:aws:iam::123456789012:role/lake",
  region: "eu-west-1",
};
const scope = { bucket: "data", prefix: "in", access: "read" };

/** `path: message` of each fault. */
function faultsOf(options: object): string[] {
  const parsed = awsStsOptionsSchema.safeParse(options);
  return (parsed.error?.issues ?? []).map(({ path, message }) => `${path.join(".")}: ${message}`);
}

test("the pinned shape of job.yaml is accepted, and defaults are filled in", () => {
  expect(awsStsOptionsSchema.parse(role)).toMatchObject({ ...role, durationSec: 3_600 });
  const session = { action: "GetSessionToken", region: "eu-west-1" };
  expect(awsStsOptionsSchema.parse(session)).toMatchObject({ durationSec: 43_200 });
});

test.each([
  [{ durationSec: 60 }, "durationSec: expected 900 to 43200 seconds"],
  [{ durationSec: 43_201 }, "durationSec: expected 900 to 43200 seconds"],
  [{ durationSec: 900.5 }, "durationSec: expected a whole number of seconds from 900 to 43200"],
  [{ durationSec: "1h" }, "durationSec: expected a whole number of seconds from 900 to 43200"],
  [{ roleArn: "lake" }, "roleArn: expected a role ARN of 20 to 2048 characters"],
  [{ region: "Eu West" }, "region: expected a region, e.g. eu-west-1"],
  [{ sessionName: "a b" }, "sessionName: expected only A-Z a-z 0-9 _ + = , . @ -"],
  [{ sessionName: "x".repeat(65) }, "sessionName: expected 2 to 64 characters"],
  [{ externalId: "x" }, "externalId: expected 2 to 1224 characters"],
  [{ endpoint: "ftp://sts" }, "endpoint: expected an http or https URL"],
  [{ policyArns: [] }, "policyArns: expected 1 to 10 policy ARNs"],
  [{ policyArns: Array(11).fill(role.roleArn) }, "policyArns: expected 1 to 10 policy ARNs"],
  [{ policy: "not json" }, 'policy: expected a JSON policy document: an object with "Statement"'],
  [{ policy: "" }, 'policy: expected a JSON policy document: an object with "Statement"'],
  [{ policy: {} }, 'policy: expected a JSON policy document: an object with "Statement"'],
  [{ transitiveTagKeys: ["team"] }, 'transitiveTagKeys.0: expected a key of tags; "team" is none'],
  [{ scopes: [{ ...scope, prefix: "/in" }] }, "scopes.0.prefix: expected no leading slash"],
  [{ scopes: [{ ...scope, bucket: "*" }] }, "scopes.0.bucket: expected a bucket name"],
  [{ scopes: [{ ...scope, access: "all" }] }, "scopes.0.access: expected read, write or readwrite"],
  [{ base: { profil: "x" } }, "base: expected {profile, …} or {webIdentity: {roleArn, tokenFile}}"],
])("%j is refused with its path and what was expected", (wrong, fault) => {
  expect(faultsOf({ ...role, ...wrong })).toContain(fault);
});

test("all faults are reported at once", () => {
  expect(
    faultsOf({ ...role, durationSec: 60, region: "", externalId: "x", durationSecs: 1 }),
  ).toHaveLength(4);
});

test("a session has one inline policy: two are refused, not dropped", () => {
  const [fault] = faultsOf({ ...role, scopes: [], policyFile: "p.json" });
  expect(fault).toMatch(/^policyFile: expected one of scopes, policy and policyFile/);
});

test("options of another action are refused", () => {
  const web = { ...role, action: "AssumeRoleWithWebIdentity", webIdentityTokenFile: "t" };
  expect(faultsOf(web)).toEqual([]);
  expect(faultsOf({ ...web, externalId: "ab" })).toHaveLength(1);
  expect(faultsOf({ action: "GetSessionToken", region: "eu-west-1", scopes: [] })).toHaveLength(1);
});

test("more than fifty tags are refused", () => {
  const tags = Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`k${index}`, "v"]));
  expect(faultsOf({ ...role, tags })).toEqual(["tags: expected at most 50 tags"]);
});

test("scopes that do not fit into a policy are refused by name, never widened", () => {
  const scopes = Array.from({ length: 20 }, (_, index) => ({
    ...scope,
    prefix: `${"long".repeat(10)}/${index}`,
  }));
  const [fault] = faultsOf({ ...role, scopes });
  expect(fault).toMatch(/^scopes: expected session policies of at most 2048 characters together/);
  expect(fault).toContain(`data/${"long".repeat(10)}/19`);
});

test("managed policies count against the same limit", () => {
  const arn = `arn:aws:iam::123456789012:policy/${"p".repeat(300)}`;
  expect(faultsOf({ ...role, policyArns: Array(7).fill(arn) })[0]).toMatch(/^policyArns: expected/);
});
