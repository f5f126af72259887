import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type {
  ConsumerEnvironment,
  CredentialReceiver,
} from "../../../src/worker-agent/ports/credential-receiver.ts";
import { awsContainerFactory } from "../../../src/worker-agent/receivers/aws-container/index.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { endpointOf, getFromEndpoint, rawExchange } from "../support/aws-consumers.ts";
import {
  accessKeyOf,
  awsServing,
  type ReceiverBench,
  receiverBench,
} from "../support/receiver-bench.ts";

interface Endpoint {
  readonly clock: ManualClock;
  readonly bench: ReceiverBench;
  readonly receiver: CredentialReceiver;
  readonly environment: ConsumerEnvironment;
  readonly token: string;
  readonly port: number;
}

async function endpoint(
  options: Readonly<Record<string, unknown>> = {},
  bench = receiverBench(new ManualClock()),
): Promise<Endpoint> {
  const clock = bench.services.clock as ManualClock;
  const parsed = awsContainerFactory.options.parse(options);
  const receiver = awsContainerFactory.create(parsed, bench.services);
  const environment = await receiver.start();
  onTestFinished(() => receiver.stop());
  const { token, url } = endpointOf(environment);
  return { clock, bench, receiver, environment, token, port: Number(url.port) };
}

const PATH = "/v1/aws/credentials";
/** A request that closes its connection; lines are joined by CRLF. */
const request = (...lines: string[]): string =>
  `${lines.join("\r\n")}\r\nConnection: close\r\n\r\n`;
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);
const bodyOf = (answer: string): unknown =>
  JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4));

test("the answer has the form that every SDK takes: names, times, headers", async () => {
  const { clock, receiver, environment } = await endpoint();
  await receiver.apply(awsServing(clock, 1));
  const answer = await getFromEndpoint(environment);
  expect(JSON.parse(answer.body)).toEqual({
    AccessKeyId: accessKeyOf(1),
    SecretAccessKey: "secret-key-1-hush",
    Token: "session-token-1-hush",
    Expiration: "2026-01-01T01:00:00Z",
    AccountId: "123456789012",
  });
  expect(answer.headers).toMatchObject({
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(answer.body)),
    "cache-control": "no-store",
  });
});

test("the environment leads every SDK to the endpoint and removes what would win over it", async () => {
  const { clock, receiver, environment, port, bench } = await endpoint();
  expect(environment.set["AWS_REGION"]).toBeUndefined();
  await receiver.apply(awsServing(clock, 1));
  const state = join(bench.dir, "state");
  expect(environment.set).toEqual({
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://127.0.0.1:${port}${PATH}`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: join(state, "aws-container.lake.token"),
    AWS_SHARED_CREDENTIALS_FILE: join(state, "aws-container.lake.no-profiles"),
    AWS_CONFIG_FILE: join(state, "aws-container.lake.no-profiles"),
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_REGION: "eu-west-1",
    AWS_DEFAULT_REGION: "eu-west-1",
  });
  expect(environment.unset).toEqual(
    expect.arrayContaining([
      "AWS_ACCESS_KEY_ID",
      "AWS_SECRET_ACCESS_KEY",
      "AWS_SESSION_TOKEN",
      "AWS_PROFILE",
      "AWS_ROLE_ARN",
      "AWS_WEB_IDENTITY_TOKEN_FILE",
      "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
      "AWS_CONTAINER_AUTHORIZATION_TOKEN",
      "AWS_SDK_LOAD_CONFIG",
    ]),
  );
  expect(environment.unset).not.toContain("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
});

test("the token file has mode 0400 and no line end, since botocore refuses one", async () => {
  const { environment } = await endpoint();
  const path = environment.set["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] ?? "";
  expect(statSync(path).mode & 0o777).toBe(0o400);
  expect(readFileSync(path, "utf8")).toMatch(/^[A-Za-z0-9_-]{43}$/);
});

test("a token file of the operator's own is used, and loses its line end", async () => {
  const bench = receiverBench(new ManualClock());
  const tokenFile = join(bench.dir, "token");
  writeFileSync(tokenFile, "operators-own-token-0123456789\n", { mode: 0o644 });
  const { environment, token } = await endpoint({ tokenFile, tokenFileMode: "0440" }, bench);
  expect(token).toBe("operators-own-token-0123456789");
  expect(environment.set["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).toBe(tokenFile);
  expect(statSync(tokenFile).mode & 0o777).toBe(0o440);
});

test("the token can be in the environment in place of a file, never in both", async () => {
  const { clock, receiver, environment } = await endpoint({ tokenIn: "environment" });
  await receiver.apply(awsServing(clock, 1));
  expect(environment.set["AWS_CONTAINER_AUTHORIZATION_TOKEN"]).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(environment.set["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).toBeUndefined();
  expect(environment.unset).toContain("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
  expect((await getFromEndpoint(environment)).status).toBe(200);
});

test("a restarted agent has the same port and the same token", async () => {
  const first = await endpoint();
  await first.receiver.stop();
  const second = await endpoint({}, first.bench);
  expect(second.environment.set).toEqual(first.environment.set);
  expect(second.token).toBe(first.token);
});

test("a request before the first credential waits for it", async () => {
  const { clock, receiver, environment } = await endpoint();
  const asked = getFromEndpoint(environment);
  await clock.armed();
  clock.advance(699);
  await receiver.apply(awsServing(clock, 1));
  expect((await asked).status).toBe(200);
});

test("without a credential within 700 ms the answer is 503 in JSON, as for an ended or withdrawn one", async () => {
  const { clock, receiver, environment, bench } = await endpoint();
  const asked = getFromEndpoint(environment);
  await clock.armed();
  expect(clock.pending()[0]?.delay).toBe(700);
  clock.advance(700);
  const empty = await asked;
  expect(empty.status).toBe(503);
  expect(JSON.parse(empty.body)).toMatchObject({
    code: "CredentialNotReady",
    Code: "CredentialNotReady",
    message: expect.any(String),
    Message: expect.any(String),
  });
  await receiver.apply(awsServing(clock, 1, 5000));
  clock.advance(5000);
  expect(JSON.parse((await getFromEndpoint(environment)).body)).toMatchObject({
    code: "CredentialExpired",
  });
  await receiver.withdraw("lake");
  expect((await getFromEndpoint(environment)).status).toBe(503);
  expect([bench.count("empty"), bench.count("expired"), bench.count("served")]).toEqual([1, 2, 0]);
});

test("a client that gives up while it waits is forgotten", async () => {
  const { clock, environment, bench, token, port } = await endpoint();
  const gone = new AbortController();
  const asked = fetch(`http://127.0.0.1:${port}${PATH}`, {
    headers: { authorization: token },
    signal: gone.signal,
  }).catch(() => "gone");
  await clock.armed();
  gone.abort();
  expect(await asked).toBe("gone");
  await eventually(() => bench.count("abandoned") === 1);
  expect(clock.pending().filter(({ delay }) => delay === 700)).toEqual([]);
  expect(environment.set["AWS_EC2_METADATA_DISABLED"]).toBe("true");
});

test("requests are counted by outcome and client, and the agent's own proof apart", async () => {
  const { clock, receiver, environment, bench } = await endpoint();
  await receiver.apply(awsServing(clock, 1));
  await getFromEndpoint(environment, { "user-agent": "aws-cli/2.31 md/awscrt" });
  await getFromEndpoint(environment, { authorization: "not-the-token-of-this-agent" });
  expect(bench.requests).toEqual([
    { outcome: "probe", client: "none", remaining: 3_600_000 },
    { outcome: "served", client: "aws-cli", remaining: 3_600_000 },
    { outcome: "unauthorized", client: "none" },
  ]);
});

test.each([
  ["no token", [], 401, "MissingAuthorization"],
  ["an empty token", ["Authorization:"], 401, "MissingAuthorization"],
  ["a wrong token", [`Authorization: ${"x".repeat(43)}`], 401, "WrongAuthorization"],
  ["a scheme before the token", ["Authorization: Bearer TOKEN"], 400, "MalformedAuthorization"],
  [
    "a token that is far too long",
    [`Authorization: ${"x".repeat(2000)}`],
    400,
    "MalformedAuthorization",
  ],
  ["two tokens", ["Authorization: TOKEN", "Authorization: TOKEN"], 400, "MalformedAuthorization"],
  ["a bare CR in the token", ["Authorization: TOK\rEN"], 400, "BadRequest"],
  ["a bare LF after the token", ["Authorization: TOKEN\nX: y"], 400, "BadRequest"],
  ["an escaped line end", ["Authorization: TOKEN%0d%0a"], 400, "MalformedAuthorization"],
  ["a line end spelt out", ["Authorization: TOKEN\\r\\n"], 400, "MalformedAuthorization"],
])(
  "%s is refused in JSON, and nothing of a credential is in the answer",
  async (_what, lines, status, code) => {
    const { clock, receiver, environment, token, port } = await endpoint();
    await receiver.apply(awsServing(clock, 1));
    const sent = lines.map((line) => line.replaceAll("TOKEN", token));
    const answer = await rawExchange(
      environment,
      request(`GET ${PATH} HTTP/1.1`, `Host: 127.0.0.1:${port}`, ...sent),
    );
    expect(statusOf(answer)).toBe(status);
    expect(bodyOf(answer)).toMatchObject({ code, Code: code });
    expect(answer).not.toMatch(/hush|ASIA/);
  },
);

test("a token followed by CRLF in the same header line is a right token and a further header", async () => {
  const { clock, receiver, environment, token, port } = await endpoint();
  await receiver.apply(awsServing(clock, 1));
  const lines = [
    `GET ${PATH} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    `Authorization: ${token}\r\nX: y`,
  ];
  expect(statusOf(await rawExchange(environment, request(...lines)))).toBe(200);
});

test.each([
  ["127.0.0.1:PORT", 200],
  ["localhost:PORT", 200],
  ["LOCALHOST:PORT", 200],
  ["[::1]:PORT", 200],
  ["evil.example:PORT", 403],
  ["127.0.0.1", 403],
  ["127.0.0.1:1", 403],
  ["127.0.0.1.evil.example:PORT", 403],
  ["", 403],
])("asked under the name %j it answers %i, against DNS rebinding", async (host, status) => {
  const { clock, receiver, environment, token, port } = await endpoint();
  await receiver.apply(awsServing(clock, 1));
  const name = host.replace("PORT", String(port));
  const lines = [`GET ${PATH} HTTP/1.1`, `Host: ${name}`, `Authorization: ${token}`];
  expect(statusOf(await rawExchange(environment, request(...lines)))).toBe(status);
});

test.each([
  ["GET", `${PATH}?x=1`, 200],
  ["GET", "/", 404],
  ["GET", `${PATH}/`, 404],
  ["GET", "/latest/meta-data/", 404],
  ["GET", "http://127.0.0.1/v1/aws/credentials", 404],
  ["POST", PATH, 405],
  ["PUT", PATH, 405],
  ["DELETE", PATH, 405],
  ["OPTIONS", PATH, 405],
  ["HEAD", PATH, 405],
])("%s %s gets %i", async (method, path, status) => {
  const { clock, receiver, environment, token, port } = await endpoint();
  await receiver.apply(awsServing(clock, 1));
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    `Authorization: ${token}`,
  ];
  const answer = await rawExchange(environment, request(...lines));
  expect(statusOf(answer)).toBe(status);
  if (status === 405) expect(answer).toMatch(/\r\nAllow: GET\r\n/);
});

test.each([
  "\r\n\r\n\0\0",
  "GET\r\n\r\n",
  `GET ${PATH} HTTP/1.1\r\nX: ${"x".repeat(20_000)}\r\n\r\n`,
])("bytes that are no HTTP request get a 400 in JSON and harm nobody", async (bytes) => {
  const { clock, receiver, environment } = await endpoint();
  await receiver.apply(awsServing(clock, 1));
  const answer = await rawExchange(environment, bytes);
  expect(statusOf(answer)).toBe(400);
  expect(bodyOf(answer)).toMatchObject({ code: "BadRequest" });
  expect((await getFromEndpoint(environment)).status).toBe(200);
});

test("a configured port that is taken fails the start with what to do, and leaves nothing bound", async () => {
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => new Promise<void>((resolve) => void squatter.close(() => resolve())));
  const { port } = squatter.address() as { port: number };
  await expect(endpoint({ port })).rejects.toMatchObject({
    code: "RECEIVER_FAILED",
    message: expect.stringMatching(
      new RegExp(
        `^\\[RECEIVER_FAILED\\] cannot listen on 127.0.0.1 port ${port}: the port is taken`,
      ),
    ),
  });
});

test("a remembered port that is taken meanwhile gives another one, with a warning", async () => {
  const bench = receiverBench(new ManualClock());
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => new Promise<void>((resolve) => void squatter.close(() => resolve())));
  const taken = (squatter.address() as { port: number }).port;
  mkdirSync(join(bench.dir, "state"));
  writeFileSync(join(bench.dir, "state", "aws-container.lake.port"), `${taken}\n`);
  const { port } = await endpoint({}, bench);
  expect(port).not.toBe(taken);
  expect(bench.logged).toEqual([
    expect.objectContaining({ level: "warn", facts: { port: taken } }),
  ]);
});

test("on request it answers on ::1 as well, and proves both", async () => {
  const { clock, receiver, token, port, bench } = await endpoint({ ipv6: true });
  await receiver.apply(awsServing(clock, 1));
  const answer = await fetch(`http://[::1]:${port}${PATH}`, { headers: { authorization: token } });
  expect(answer.status).toBe(200);
  await answer.text();
  expect(bench.count("probe")).toBe(2);
});

test("an endpoint that no longer answers fails the proof, and apply says so", async () => {
  const { clock, receiver } = await endpoint();
  await receiver.apply(awsServing(clock, 1));
  await receiver.stop();
  await expect(receiver.apply(awsServing(clock, 2))).rejects.toMatchObject({
    code: "RECEIVER_FAILED",
    message: expect.stringContaining("cannot be reached (ECONNREFUSED)"),
  });
});

test("a thousand requests at once are all answered with the credential", async () => {
  const { clock, receiver, environment, bench } = await endpoint();
  await receiver.apply(awsServing(clock, 1));
  for (let round = 0; round < 5; round += 1) {
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => getFromEndpoint(environment)),
    );
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([200]));
  }
  expect(bench.count("served")).toBe(1000);
});

test.each([
  [{ port: 0 }, "port"],
  [{ port: 70_000 }, "port"],
  [{ holdMs: 5000 }, "holdMs"],
  [{ tokenFileMode: 400 }, "tokenFileMode"],
  [{ tokenFile: "relative" }, "tokenFile"],
  [{ tokn: 1 }, ""],
])("options %j are refused", (options, path) => {
  const issues = awsContainerFactory.options.safeParse(options).error?.issues ?? [];
  expect(issues.map((issue) => issue.path.join("."))).toEqual([path]);
});
