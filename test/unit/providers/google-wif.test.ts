/** The pure parts of `google-wif`: boundaries, options, classes of errors, set-up commands. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  accessBoundary,
  celText,
} from "../../../src/coordinator/providers/google-wif/access-boundary.ts";
import {
  codeOfRefusal,
  errorOf,
  KNOWN_GOOGLE_CODES,
} from "../../../src/coordinator/providers/google-wif/errors.ts";
import { googleWifOptionsSchema } from "../../../src/coordinator/providers/google-wif/options.ts";
import { setupCommands } from "../../../src/coordinator/providers/google-wif/setup-commands.ts";
import { readBoundary, withinBoundary } from "../../../src/emulators/google/boundary.ts";
import { parseCondition } from "../../../src/emulators/google/condition.ts";
import { classOf } from "../../../src/protocol/errors.ts";
import { durationMs } from "../../../src/protocol/time.ts";

const AUDIENCE =
  "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/prov";
const options = (more: object = {}) => ({
  audience: AUDIENCE,
  subjectToken: { jwt: { keyFile: "key.pem", issuer: "https://i.example.com", subject: "etl" } },
  serviceAccount: { email: "lake@acme-data.iam.gserviceaccount.com" },
  ...more,
});
const read = { bucket: "lake", prefix: "in", access: "read", list: true } as const;

describe("access boundaries", () => {
  test("have the form of the documentation", () => {
    expect(accessBoundary([read])).toEqual({
      accessBoundary: {
        accessBoundaryRules: [
          {
            availableResource: "//storage.googleapis.com/projects/_/buckets/lake",
            availablePermissions: ["inRole:roles/storage.objectViewer"],
            availabilityCondition: {
              expression:
                "resource.name.startsWith('projects/_/buckets/lake/objects/in/') || api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('in/')",
            },
          },
        ],
      },
    });
  });

  test("whatever is in a prefix, it grants what lies below it, and nothing beside it", () => {
    const text = fc.string({ unit: fc.constantFrom(..."ab/'\"\\*?%$&|()ü ."), minLength: 1 });
    const prefixes = text.filter((prefix) => !prefix.startsWith("/"));
    fc.assert(
      fc.property(prefixes, text, (prefix, name) => {
        const boundary = JSON.stringify(accessBoundary([{ ...read, prefix }]));
        const rules = readBoundary(boundary);
        if (rules === undefined) throw new Error("refused");
        const folder = prefix.endsWith("/") ? prefix : `${prefix}/`;
        const get = (object: string) =>
          withinBoundary(rules, { permission: "storage.objects.get", bucket: "lake", object });
        const list = (listPrefix: string) =>
          withinBoundary(rules, { permission: "storage.objects.list", bucket: "lake", listPrefix });
        expect(get(`${folder}${name}`)).toBe(true);
        expect(get(name)).toBe(name.startsWith(folder));
        expect(list(folder)).toBe(true);
        expect(list(name)).toBe(name.startsWith(folder));
      }),
    );
  });

  test("every text survives as a CEL literal", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const condition = parseCondition(`resource.name == ${celText(text)}`);
        expect(condition?.({ resourceName: text, attributes: new Map() })).toBe(true);
      }),
    );
  });

  test("without its escapes a quote would end the literal (negative control)", () => {
    expect(parseCondition("resource.name.startsWith('o'brien')")).toBeUndefined();
  });

  test("a condition has at most 12 operators, and a boundary at most 10 rules", () => {
    const many = (count: number) =>
      Array.from({ length: count }, (_, index) => ({ ...read, prefix: `p${index}` }));
    const { accessBoundaryRules: rules } = accessBoundary(many(13)).accessBoundary;
    const operators = rules.map(
      (rule) => rule.availabilityCondition?.expression.split(" || ").length,
    );
    expect(operators).toEqual([12, 12, 2]);
    expect(googleWifOptionsSchema.safeParse(options({ scopes: many(60) })).success).toBe(true);
    const judged = googleWifOptionsSchema.safeParse(options({ scopes: many(61) }));
    expect(judged.error?.issues[0]?.message).toMatch(/fit in 10 rules of a boundary; they need 11/);
  });
});

describe("options", () => {
  test.each([
    [{ audience: "https://iam.googleapis.com/x" }, "audience"],
    [{ oauthScopes: [] }, "oauthScopes"],
    [{ scopes: [] }, "scopes"],
    [{ scopes: [{ ...read, prefix: "/in" }] }, "scopes.0.prefix"],
    [{ scopes: [{ ...read, prefix: "in\nout" }] }, "scopes.0.prefix"],
    [{ serviceAccount: { email: "lake" } }, "serviceAccount.email"],
    [{ serviceAccount: { email: "a@b.com", lifetimeSec: 43_201 } }, "serviceAccount.lifetimeSec"],
    [{ serviceAccount: { email: "a@b.com", lifetimeSec: 599 } }, "serviceAccount.lifetimeSec"],
    [{ subjectToken: { file: "f", url: "https://x" } }, "subjectToken"],
    [{ subjectToken: {} }, "subjectToken"],
  ])("%j is refused at %s", (more, path) => {
    const judged = googleWifOptionsSchema.safeParse(options(more));
    expect(judged.error?.issues.map((issue) => issue.path.join("."))).toContain(path);
  });
});

describe("classes of errors", () => {
  test("a code decides before the status, an unknown one leaves it to the status", () => {
    expect(classOf(codeOfRefusal("invalid_grant", 500))).toBe("identity");
    expect(classOf(codeOfRefusal("unauthorized_client", 400))).toBe("denied");
    expect(classOf(codeOfRefusal("PERMISSION_DENIED", 403))).toBe("denied");
    expect(classOf(codeOfRefusal("invalid_target", 400))).toBe("invalid");
    expect(codeOfRefusal("constructor", 429)).toBe("ISSUER_THROTTLED");
    expect(codeOfRefusal(undefined, 200)).toBe("ISSUER_ANSWER_UNUSABLE");
    expect(codeOfRefusal(undefined, 502)).toBe("ISSUER_UNAVAILABLE");
    expect(KNOWN_GOOGLE_CODES.length).toBeGreaterThan(25);
  });

  test("what a request carried, and what looks like a token, is taken out of quotes (I9)", () => {
    const secret = "federated-token-of-the-attempt";
    const error = errorOf({
      ...{ step: "impersonate", endpoint: "iam", kind: "refused", httpStatus: 400 },
      googleCode: "invalid_grant",
      text: `no ${secret}, eyJhbGciOi.eyJpc3Mi.c2ln and ya29.abcdef`,
      secrets: [secret],
      skew: durationMs(-600_000),
    });
    expect(error.message).not.toMatch(/federated|eyJ|ya29/);
    expect(error.message).toContain("600 s ahead of the issuer's");
  });
});

test("the set-up commands make a chain of the delegates and quote what a shell would read", () => {
  const parsed = googleWifOptionsSchema.parse(
    options({
      subjectToken: { jwt: { ...options().subjectToken.jwt, subject: "o'brien" } },
      serviceAccount: {
        email: "lake@acme-data.iam.gserviceaccount.com",
        delegates: ["hub@acme-hub.iam.gserviceaccount.com"],
      },
    }),
  );
  const commands = setupCommands(parsed, "jwks.json").filter((line) => line.includes("binding"));
  expect(commands).toEqual([
    "gcloud iam service-accounts add-iam-policy-binding hub@acme-hub.iam.gserviceaccount.com --project=acme-hub --role=roles/iam.workloadIdentityUser '--member=principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/subject/o'\\''brien'",
    "gcloud iam service-accounts add-iam-policy-binding lake@acme-data.iam.gserviceaccount.com --project=acme-data --role=roles/iam.serviceAccountTokenCreator --member=serviceAccount:hub@acme-hub.iam.gserviceaccount.com",
  ]);
});
