/** Receiver `google-metadata` on the wire: paths, headers, states, the token file. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { ConsumerEnvironment } from "../../../src/worker-agent/ports/credential-receiver.ts";
import { googleMetadataFactory } from "../../../src/worker-agent/receivers/google-metadata/index.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { rawExchange } from "../support/aws-consumers.ts";
import { receiverContract } from "../support/credential-receiver-contract.ts";
import {
  askMetadata,
  EMAIL,
  googleServing,
  googleTokenOf,
  TOKEN_PATH,
} from "../support/google-consumers.ts";
import { receiverBench } from "../support/receiver-bench.ts";

receiverContract(googleMetadataFactory, {
  options: (dir) => ({ tokenFile: join(dir, "out", "token") }),
  serving: googleServing,
  consumerGets: async (environment) => {
    const answer = await askMetadata(environment);
    if (answer.status !== 200) return undefined;
    return /ASIA\d{16}/.exec(answer.body)?.[0];
  },
  endsByItself: true,
});

async function endpoint(
  options: Readonly<Record<string, unknown>> = {},
  bench = receiverBench(new ManualClock()),
) {
  const clock = bench.services.clock as ManualClock;
  const parsed = googleMetadataFactory.options.parse(options);
  const receiver = googleMetadataFactory.create(parsed, bench.services);
  const environment = await receiver.start();
  onTestFinished(() => receiver.stop());
  const get = (path: string) => askMetadata(environment, path);
  const port = Number(environment.set["GCE_METADATA_HOST"]?.split(":")[1]);
  return { clock, bench, receiver, environment, get, port };
}

const V1 = "/computeMetadata/v1";
const MARKS = { "metadata-flavor": "Google", server: "Metadata Server for VM" };
const SCOPE = "https://www.googleapis.com/auth/cloud-platform";

test("the token has the form that every client takes, and its seconds are counted at the answer, rounded down", async () => {
  const { clock, receiver, get } = await endpoint();
  await receiver.apply(googleServing(clock, 1, 600_000));
  clock.advance(1);
  const answer = await get(`${TOKEN_PATH}?scopes=a,b`);
  expect(JSON.parse(answer.body)).toEqual({
    access_token: googleTokenOf(1),
    expires_in: 599,
    token_type: "Bearer",
  });
  expect(answer.headers).toMatchObject({
    ...MARKS,
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(answer.body)),
    "cache-control": "no-store",
  });
  clock.advance(300_000);
  expect(JSON.parse((await get(TOKEN_PATH)).body)).toMatchObject({ expires_in: 299 });
});

test("the environment leads every client here and removes what would win", async () => {
  const { clock, receiver, environment, port, bench } = await endpoint();
  expect(environment.set["GOOGLE_CLOUD_PROJECT"]).toBeUndefined();
  await receiver.apply(googleServing(clock, 1));
  const host = `127.0.0.1:${port}`;
  const away = "127.0.0.1,localhost,169.254.169.254,metadata.google.internal";
  expect(environment.set).toEqual({
    ...{ GCE_METADATA_HOST: host, GCE_METADATA_IP: host, GCE_METADATA_ROOT: host },
    ...{ METADATA_SERVER_DETECTION: "assume-present", GOOGLE_CLOUD_PROJECT: "acme-data" },
    ...{ NO_PROXY: away, no_proxy: away },
    CLOUDSDK_CONFIG: join(bench.dir, "state", "google-metadata.lake.gcloud"),
  });
  expect(environment.unset).toEqual(
    expect.arrayContaining([
      ...["GOOGLE_APPLICATION_CREDENTIALS", "NO_GCE_CHECK", "GCE_METADATA_MTLS_MODE"],
      "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE",
    ]),
  );
  const kept = await endpoint({ gcloudConfig: "keep", projectId: "other-project" });
  expect(kept.environment.set["CLOUDSDK_CONFIG"]).toBeUndefined();
  expect(kept.environment.set["GOOGLE_CLOUD_PROJECT"]).toBe("other-project");
});

const INFO = { aliases: ["default"], email: EMAIL, scopes: [SCOPE] };
describe("paths", () => {
  test.each([
    ["/", "computeMetadata/\n"],
    [`${V1}/`, "instance/\nproject/\nuniverse/\n"],
    [`${V1}/instance`, "service-accounts/\n"],
    [`${V1}/instance/`, "service-accounts/\n"],
    [`${V1}/instance/service-accounts/`, `default/\n${EMAIL}/\n`],
    [`${V1}/instance/service-accounts/default/email`, EMAIL],
    [`${V1}/instance/service-accounts/${encodeURIComponent(EMAIL)}/email`, EMAIL],
    [`${V1}/instance/service-accounts/${EMAIL}/scopes`, `${SCOPE}\n`],
    [`${V1}/instance/service-accounts/default/aliases`, "default\n"],
    [`${V1}/project/project-id`, "acme-data"],
    [`${V1}/project/numeric-project-id`, "123456789012"],
    [`${V1}/universe/universe-domain`, "googleapis.com"],
  ])("%s is text", async (path, body) => {
    const { clock, receiver, get } = await endpoint({ numericProjectId: "123456789012" });
    await receiver.apply(googleServing(clock, 1));
    const answer = await get(path);
    expect([answer.status, answer.body]).toEqual([200, body]);
    expect(answer.headers).toMatchObject({ ...MARKS, "content-type": "text/plain" });
  });

  test.each([
    [`${V1}/instance/service-accounts/default/?recursive=true`, INFO],
    [`${V1}/instance/service-accounts/${EMAIL}/?recursive=True`, INFO],
    [`${V1}/instance/service-accounts/?recursive=true`, { default: INFO, [EMAIL]: INFO }],
    [
      `${V1}/?recursive=true`,
      {
        instance: { serviceAccounts: { default: INFO, [EMAIL]: INFO } },
        project: { projectId: "acme-data" },
        universe: { universeDomain: "googleapis.com" },
      },
    ],
  ])("%s is JSON", async (path, value) => {
    const { clock, receiver, get } = await endpoint();
    await receiver.apply(googleServing(clock, 1));
    const answer = await get(path);
    expect(JSON.parse(answer.body)).toEqual(value);
    expect(answer.headers).toMatchObject({ ...MARKS, "content-type": "application/json" });
  });

  test("a folder without its slash leads there, with its query", async () => {
    const { clock, receiver, get } = await endpoint();
    await receiver.apply(googleServing(clock, 1));
    const answer = await get(`${V1}/instance/service-accounts/default?recursive=true`);
    expect(answer.status).toBe(301);
    expect(answer.headers).toMatchObject({
      ...MARKS,
      location: `${V1}/instance/service-accounts/default/?recursive=true`,
    });
  });

  test.each([
    `${V1}/instance/service-accounts/default/identity?audience=a`,
    `${V1}/instance/service-accounts/someone@else/token`,
    `${V1}/instance/zone`,
    `${V1}/project/numeric-project-id`,
    "/computeMetadata/v1beta1/instance/",
    "/latest/meta-data/",
  ])("%s is not found, in words, under the marks of a metadata server", async (path) => {
    const { clock, receiver, get } = await endpoint();
    await receiver.apply(googleServing(clock, 1));
    const answer = await get(path);
    expect(answer.status).toBe(404);
    expect(answer.headers).toMatchObject(MARKS);
    if (path.includes("identity")) expect(answer.body).toContain("ID tokens are not served");
  });

  test("a federated identity has no address: it is called default, and no project is made up", async () => {
    const { clock, receiver, get, environment } = await endpoint();
    await receiver.apply(googleServing(clock, 1, 3_600_000, { scopes: SCOPE }));
    expect((await get(`${V1}/instance/service-accounts/`)).body).toBe("default/\n");
    expect((await get(`${V1}/instance/service-accounts/default/email`)).body).toBe("default");
    expect((await get(`${V1}/project/project-id`)).status).toBe(404);
    expect(environment.set["GOOGLE_CLOUD_PROJECT"]).toBeUndefined();
  });
});

describe("callers", () => {
  const refusals: [string, Record<string, string>, string, string][] = [
    ["without Metadata-Flavor", {}, "GET", "no-flavor"],
    ["with another Metadata-Flavor", { "metadata-flavor": "google" }, "GET", "no-flavor"],
    [
      "forwarded by a proxy",
      { "metadata-flavor": "Google", "x-forwarded-for": "10.0.0.1" },
      "GET",
      "forwarded",
    ],
    [
      "under a foreign name",
      { "metadata-flavor": "Google", host: "metadata.evil.test" },
      "GET",
      "wrong-host",
    ],
    [
      "under the name of another port",
      { "metadata-flavor": "Google", host: "127.0.0.1:1" },
      "GET",
      "wrong-host",
    ],
    ["that wants to write", { "metadata-flavor": "Google" }, "POST", "wrong-method"],
  ];
  test.each(refusals)("%s gets nothing", async (_name, headers, method, outcome) => {
    const { clock, receiver, environment, bench } = await endpoint();
    await receiver.apply(googleServing(clock, 1));
    const answer = await askMetadata(environment, TOKEN_PATH, headers, method);
    expect(answer.status).toBe(method === "GET" ? 403 : 405);
    expect(answer.headers).toMatchObject(MARKS);
    expect(answer.body).not.toContain("ya29");
    expect(bench.count(outcome)).toBe(1);
  });

  test("bytes that are no HTTP get 400, with the marks", async () => {
    const { port } = await endpoint();
    const set = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://127.0.0.1:${port}` };
    const answer = await rawExchange({ set, unset: [] }, "nonsense\r\n\r\n");
    expect(answer).toContain("HTTP/1.1 400");
    expect(answer).toContain("Metadata-Flavor: Google");
  });
});

describe("states", () => {
  test("before the first token the server is there, and a request for one waits, then gets 503", async () => {
    const { clock, get, bench } = await endpoint();
    expect((await get("/")).status).toBe(200);
    expect((await get(`${V1}/instance`)).status).toBe(200);
    const waiting = get(TOKEN_PATH);
    await clock.armed();
    clock.advance(700);
    expect((await waiting).status).toBe(503);
    expect(bench.count("empty")).toBe(1);
  });

  test("a request that waits gets the first token as soon as it is applied", async () => {
    const { clock, receiver, get } = await endpoint();
    const waiting = get(TOKEN_PATH);
    await clock.armed();
    await receiver.apply(googleServing(clock, 1));
    expect((await waiting).body).toContain(googleTokenOf(1));
  });

  test("I2: a token that has ended is not served, while the account's facts still are", async () => {
    const { clock, receiver, get, bench } = await endpoint();
    await receiver.apply(googleServing(clock, 1, 60_000));
    clock.advance(60_000);
    expect((await get(TOKEN_PATH)).status).toBe(503);
    expect((await get(`${V1}/instance/service-accounts/default/email`)).body).toBe(EMAIL);
    expect(bench.count("expired")).toBe(1);
  });

  test("requests are counted by client and by what came of them, with the life that was left", async () => {
    const { clock, receiver, environment, bench } = await endpoint();
    await receiver.apply(googleServing(clock, 1, 60_000));
    const python = {
      "metadata-flavor": "Google",
      "x-goog-api-client": "gl-python/3.11 auth/2.62 auth-request-type/at cred-type/mds",
    };
    await askMetadata(environment, TOKEN_PATH, python);
    await askMetadata(environment, `${V1}/instance/`, python);
    expect(bench.requests).toEqual([
      { outcome: "probe", client: "none", remaining: 60_000 },
      { outcome: "served", client: "google-python", remaining: 60_000 },
      { outcome: "metadata", client: "google-python" },
    ]);
  });
});

test("the token file holds the token alone, for gcloud, and goes with the credential", async () => {
  const bench = receiverBench(new ManualClock());
  const path = join(bench.dir, "gcloud", "token");
  const { clock, receiver, environment } = await endpoint({ tokenFile: path }, bench);
  expect(environment.set["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]).toBe(path);
  expect((environment as ConsumerEnvironment).unset).not.toContain(
    "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE",
  );
  for (const n of [1, 2]) {
    await receiver.apply(googleServing(clock, n));
    expect(readFileSync(path, "utf8")).toBe(googleTokenOf(n));
    expect(statSync(path).mode & 0o777).toBe(0o600);
  }
  await receiver.withdraw("lake");
  expect(existsSync(path)).toBe(false);
});
