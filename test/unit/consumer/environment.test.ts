import { expect, test } from "vitest";
import {
  appliedTo,
  type EnvironmentPart,
  mergeEnvironments,
} from "../../../src/worker-agent/consumer/environment.ts";

const part = (
  provider: string,
  set: Readonly<Record<string, string>>,
  unset: readonly string[] = [],
  receiver = "aws-container",
): EnvironmentPart => ({ provider, receiver, environment: { set, unset } });

const lake = part("lake", { URI: "http://127.0.0.1:1", REGION: "eu-west-1" }, ["KEY"]);
const pond = part("pond", { URI: "http://127.0.0.1:2", TOKEN: "t" }, ["KEY"]);
const google = part("g", { GCE: "127.0.0.1:3", NO_PROXY: "127.0.0.1,metadata" }, ["NO_GCE"]);

test("parts that want different variables are put together", () => {
  expect(mergeEnvironments([lake, google])).toEqual({
    set: {
      URI: "http://127.0.0.1:1",
      REGION: "eu-west-1",
      GCE: "127.0.0.1:3",
      NO_PROXY: "127.0.0.1,metadata",
      no_proxy: "127.0.0.1,metadata",
    },
    unset: ["KEY", "NO_GCE"],
  });
  expect(mergeEnvironments([])).toEqual({ set: {}, unset: [] });
});

test("two providers that want one variable are refused by name when neither is the default", () => {
  expect(() => mergeEnvironments([lake, pond])).toThrow(
    '[CONFIG_INVALID] providers "lake" (aws-container) and "pond" (aws-container) both want URI',
  );
});

test("the default provider's environment is taken whole, and nothing of the other's", () => {
  const merged = mergeEnvironments([lake, google, pond], { defaultProvider: "pond" });
  expect(merged.set).toMatchObject({ URI: "http://127.0.0.1:2", TOKEN: "t", GCE: "127.0.0.1:3" });
  expect(merged.set).not.toHaveProperty("REGION");
});

test("a default provider settles only conflicts of its own", () => {
  expect(() => mergeEnvironments([lake, pond, google], { defaultProvider: "g" })).toThrow(
    "CONFIG_INVALID",
  );
  const defaults = { defaultProvider: ["g", "lake"] };
  expect(mergeEnvironments([lake, pond, google], defaults).set["URI"]).toBe("http://127.0.0.1:1");
});

test("a default provider that nobody serves is refused, with those that are served", () => {
  expect(() => mergeEnvironments([lake, pond], { defaultProvider: "laek" })).toThrow(
    'defaultProvider "laek" is served by no receiver; served are lake, pond',
  );
});

test("of two receivers of one provider that conflict, the first one's environment holds", () => {
  const process = part("lake", { PROFILE: "evergrant" }, ["URI"], "aws-process");
  expect(mergeEnvironments([lake, process]).set).toEqual(lake.environment.set);
  expect(mergeEnvironments([process, lake]).set).toEqual({ PROFILE: "evergrant" });
});

test("setting a variable that another provider removes is a conflict too", () => {
  expect(() => mergeEnvironments([lake, part("b", { KEY: "k" })])).toThrow("both want KEY");
  expect(() => mergeEnvironments([part("b", { KEY: "k" }), lake])).toThrow("both want KEY");
});

test("the same value wanted twice is no conflict", () => {
  const again = part("b", { REGION: "eu-west-1" });
  expect(mergeEnvironments([lake, again]).set["REGION"]).toBe("eu-west-1");
});

test("a child gets the rest of its parent's environment, and NO_PROXY joined with the parent's", () => {
  const base = {
    PATH: "/bin",
    KEY: "static",
    no_proxy: "corp.example, 127.0.0.1",
    NONE: undefined,
  };
  expect(appliedTo(base, mergeEnvironments([google, lake]))).toEqual({
    PATH: "/bin",
    URI: "http://127.0.0.1:1",
    REGION: "eu-west-1",
    GCE: "127.0.0.1:3",
    NO_PROXY: "corp.example,127.0.0.1,metadata",
    no_proxy: "corp.example,127.0.0.1,metadata",
  });
});
