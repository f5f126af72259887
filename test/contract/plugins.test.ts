/** The examples of examples/, loaded by their package names as a configuration would name them. */
import { cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { loadProviderFactory } from "../../src/coordinator/providers/load-provider.ts";
import type { Credential } from "../../src/protocol/credential.ts";
import { EvergrantError } from "../../src/protocol/errors.ts";
import { Secret } from "../../src/protocol/secret.ts";
import { durationMs, epochMs, later, seconds } from "../../src/protocol/time.ts";
import { systemRandom } from "../../src/runtime/system-clock.ts";
import type { CredentialReceiverFactory } from "../../src/worker-agent/ports/credential-receiver.ts";
import { loadReceiverFactory } from "../../src/worker-agent/receivers/load-receiver.ts";
import { ManualClock } from "../support/manual-clock.ts";
import {
  countingContext,
  credentialProviderContract,
  expectNoSecret,
  failureOf,
  type IssuerFault,
  recordingServices,
} from "./support/credential-provider-contract.ts";

const EXAMPLES = new URL("../../examples/", import.meta.url);
const MATERIAL = {
  accessKeyId: "ASIAEXAMPLEEXAMPLE00",
  secretAccessKey: "very-secret-access-key",
  sessionToken: "very-secret-session-token",
};

/** A folder with installed packages: copies, so that they find nothing of this repository. */
let home: string;
const install = async (name: string, files: Readonly<Record<string, string>>): Promise<void> => {
  const folder = join(home, "node_modules", name);
  await mkdir(folder, { recursive: true });
  for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text);
};

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "evergrant plug-ins-"));
  for (const example of ["provider-plugin", "receiver-plugin"]) {
    const folder = new URL(`${example}/`, EXAMPLES);
    const { name } = JSON.parse(await readFile(new URL("package.json", folder), "utf8")) as {
      readonly name: string;
    };
    await cp(folder, join(home, "node_modules", name), { recursive: true });
  }
});
afterAll(() => rm(home, { recursive: true, force: true }));

const json =
  (status: number, body: unknown): RequestListener =>
  (_request, response) => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  };
const good = json(200, { material: MATERIAL, expiresAt: "2099-01-01T00:00:00Z" });
const BROKEN: Readonly<Partial<Record<IssuerFault, RequestListener>>> = {
  throttled: json(429, {}),
  broken: json(503, { secret: MATERIAL.secretAccessKey }),
  denied: json(403, {}),
  "identity-rejected": json(401, {}),
  garbage: (_request, response) => void response.end(`<html>${MATERIAL.secretAccessKey}`),
  "no-expiry": json(200, { material: MATERIAL }),
  "past-expiry": json(200, { material: MATERIAL, expiresAt: "2001-01-01T00:00:00Z" }),
  hangs: () => {},
};

credentialProviderContract("the example provider, loaded by its package's name,", async () => {
  const logged: unknown[] = [];
  const tokenFile = join(home, "token");
  let token = "first-broker-token";
  await writeFile(tokenFile, token);
  let answer = good;
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    const known = request.headers.authorization === `Bearer ${token}`;
    (known ? answer : json(401, {}))(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const factory = await loadProviderFactory("evergrant-provider-token-url", home);
  return {
    provider: factory.create(
      optionsOf(factory.options.safeParse({ url, tokenFile })),
      recordingServices(home, logged),
    ),
    kind: "aws-session",
    breakIssuer(fault) {
      answer = BROKEN[fault] ?? good;
    },
    mendIssuer() {
      answer = good;
    },
    requestsSeen: () => requests,
    hanging: () => vi.waitFor(() => expect(requests).toBe(2), { timeout: 20_000 }),
    baseSecrets: [token, ...Object.values(MATERIAL).filter((text) => text.startsWith("very"))],
    async replaceIdentity() {
      token = "second-broker-token";
      await writeFile(tokenFile, token);
    },
    logged,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
});

function optionsOf(parsed: { readonly success: boolean; readonly data?: unknown }): unknown {
  expect(parsed.success).toBe(true);
  return parsed.data;
}

describe("a provider's package", () => {
  const load = (name: string) => loadProviderFactory(name, home);
  const services = () => recordingServices(home, []);

  test("reports each fault of its options with its path", async () => {
    const { options } = await load("evergrant-provider-token-url");
    const { error } = options.safeParse({ url: "ftp://x", nonsense: 1 });
    expect(error?.issues.map(({ path }) => path.join("."))).toEqual([
      "nonsense",
      "url",
      "tokenFile",
    ]);
  });

  test("built-in kinds are loaded by their names, whatever is installed", async () => {
    await install("exec", { "package.json": "{}", "index.js": "throw new Error()" });
    for (const kind of ["aws-sts", "exec"]) expect((await load(kind)).kind).toBe(kind);
  });

  test.each([
    ["evergrant-provider-nowhere", /no package of that name is installed/],
    ["../../etc/passwd", /nor the name of an npm package/],
    ["/abs/path.js", /nor the name of an npm package/],
    ["node:fs", /nor the name of an npm package/],
    ["constructor", /no package of that name is installed/],
  ])("%s is refused", async (name, text) => {
    const error = await failureOf(load(name));
    expect(error.code).toBe("PLUGIN_UNUSABLE");
    expect(error.message).toMatch(text);
  });

  test.each([
    ["no-export", "export const other = 1;", /it: /],
    [
      "no-create",
      'export const provider = { kind: "x", options: { safeParse() {} } };',
      /create: /,
    ],
    ["no-options", 'export const provider = { kind: "x", create() {} };', /options: /],
    [
      "other-name",
      'export const provider = { kind: "x", options: { safeParse() {} }, create() {} };',
      /kind: expected "other-name"/,
    ],
    ["throws", 'throw new Error("at import");', /does not load \(Error: at import\)/],
    ["syntax", "export const", /does not load/],
  ])("one with %s is unusable, and the fault is named", async (name, source, text) => {
    const manifest = JSON.stringify({ name, type: "module", exports: { import: "./i.js" } });
    await install(name, { "package.json": manifest, "i.js": source });
    const error = await failureOf(load(name));
    expect(error.code).toBe("PLUGIN_UNUSABLE");
    expect(error.message).toMatch(text);
  });

  const making = async (name: string, made: string) => {
    const source = `export const provider = { kind: "${name}", options: { safeParse: (data) => ({ success: true, data }) }, create: () => (${made}) };`;
    const exports = { ".": { import: { default: "./i.mjs" } } };
    await install(name, { "package.json": JSON.stringify({ name, exports }), "i.mjs": source });
    return (await load(name)).create({}, services());
  };

  test("one that creates no provider is unusable", async () => {
    await expect(making("makes-nothing", "{}")).rejects.toMatchObject({ code: "PLUGIN_UNUSABLE" });
  });

  test("a foreign error is told by its type alone, since its text may hold secrets (I9)", async () => {
    const thrower = `{ credentialKind: "x", obtain() { throw Object.assign(new TypeError("the key is very-secret"), { cause: "very-secret" }); } }`;
    const provider = await making("throws-secrets", thrower);
    const error = await failureOf(provider.obtain(countingContext()));
    expect(error.code).toBe("PROVIDER_FAILED");
    expect(error.message).toContain("TypeError");
    expectNoSecret(error, ["very-secret"]);
  });

  test.each([
    ["nothing", "undefined"],
    ["a text as material", '{ material: "very-secret-text" }'],
    ["a text as expiry", '{ material: { a: 1 }, expiresAt: "very-secret-text" }'],
    ["no number as expiry", "{ material: { a: 1 }, expiresAt: Number.NaN }"],
    ["attributes that are no texts", "{ material: { a: 1 }, attributes: { a: 1 } }"],
  ])("one that returns %s fails, and nothing of it is shown", async (what, returned) => {
    const name = `returns-${what.replaceAll(" ", "-")}`;
    const provider = await making(name, `{ credentialKind: "x", obtain: () => (${returned}) }`);
    const error = await failureOf(provider.obtain(countingContext()));
    expect(error.code).toBe("PROVIDER_FAILED");
    expectNoSecret(error, ["very-secret-text"]);
  });

  test("a box of its own with reveal() is opened, and boxed again", async () => {
    const boxed = `{ credentialKind: "x", obtain: () => ({ material: { reveal: () => ({ a: 1 }) }, attributes: {} }) }`;
    const { material } = await (await making("boxes", boxed)).obtain(countingContext());
    expect(material).toBeInstanceOf(Secret);
    expect(material.reveal()).toEqual({ a: 1 });
  });
});

describe("the example receiver", () => {
  let clock: ManualClock;
  let path: string;
  let factory: CredentialReceiverFactory;
  const services = () => ({
    ...{ tenant: "default", job: "etl", agent: "executor-1", provider: "lake" },
    ...{ clock, random: systemRandom, stateDir: undefined, workDir: home, log: () => {} },
  });
  const credential = (generation: number): Credential => ({
    provider: "lake",
    kind: "aws-session",
    generation,
    issuedAt: epochMs(0),
    expiresAt: epochMs(3_600_000),
    issuerSkew: durationMs(0),
    attributes: { region: "eu-west-1" },
    material: new Secret({ ...MATERIAL, sessionToken: `token-${generation}` }),
  });

  beforeEach(async () => {
    clock = new ManualClock();
    path = join(await mkdtemp(join(home, "receiver-")), "credentials.env");
    factory = await loadReceiverFactory("evergrant-receiver-dotenv", home);
  });
  const create = () => factory.create(optionsOf(factory.options.safeParse({ path })), services());
  const serving = (generation: number) => ({
    credential: credential(generation),
    until: later(clock.now().mono, seconds(3_600)),
  });

  test("writes each credential whole, for its owner alone, and tells consumers where", async () => {
    const receiver = create();
    expect(await receiver.start()).toEqual({ set: { CREDENTIALS_ENV_FILE: path }, unset: [] });
    await receiver.apply(serving(1));
    await receiver.apply(serving(2));
    expect(await readFile(path, "utf8")).toContain(
      "AWS_SESSION_TOKEN=token-2\nAWS_REGION=eu-west-1\n",
    );
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await receiver.stop();
    await stat(path);
  });

  test("keeps nothing past its end (I2)", async () => {
    const receiver = create();
    await receiver.apply(serving(1));
    clock.advance(seconds(3_600));
    await vi.waitFor(() => expect(stat(path)).rejects.toThrow(), { timeout: 10_000 });
    const ended = { credential: credential(1), until: clock.now().mono };
    await expect(receiver.apply(ended)).rejects.toMatchObject({ code: "RECEIVER_FAILED" });
    await receiver.stop();
  });

  test("a folder that is not there fails with its one code, and shows no secret", async () => {
    path = join(home, "not", "there.env");
    const thrown: unknown = await create()
      .apply(serving(1))
      .catch((reason: unknown) => reason);
    expect(thrown).toMatchObject({ code: "RECEIVER_FAILED" });
    expect(thrown).not.toBeInstanceOf(EvergrantError);
    expectNoSecret(thrown, Object.values(MATERIAL));
  });

  test("withdraws at once, also twice", async () => {
    const receiver = create();
    await receiver.apply(serving(1));
    await receiver.withdraw("lake");
    await receiver.withdraw("lake");
    await expect(stat(path)).rejects.toThrow();
    await receiver.stop();
  });
});
