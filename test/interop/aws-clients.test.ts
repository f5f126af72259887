import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/runtime/system-clock.ts";
import { appliedTo } from "../../src/worker-agent/consumer/environment.ts";
import type {
  ConsumerEnvironment,
  CredentialReceiver,
} from "../../src/worker-agent/ports/credential-receiver.ts";
import { awsContainerFactory } from "../../src/worker-agent/receivers/aws-container/index.ts";
import { awsProcessFactory } from "../../src/worker-agent/receivers/aws-process/index.ts";
import { runToEnd } from "../contract/support/aws-consumers.ts";
import {
  accessKeyOf,
  awsServing,
  type ReceiverBench,
  receiverBench,
} from "../contract/support/receiver-bench.ts";
import { startAwsService } from "../support/aws-service.ts";
import { eventually } from "../support/eventually.ts";
import { startBoto3 } from "./support/boto3.ts";
import { type PythonTools, pythonTools } from "./support/python.ts";

/** Inside of this much remaining life botocore asks again at every signing. */
const WINDOW_MS = 15 * 60_000;

let program: PythonTools["program"];
beforeAll(async () => {
  ({ program } = await pythonTools());
});

interface Running {
  readonly bench: ReceiverBench;
  readonly receiver: CredentialReceiver;
  readonly environment: ConsumerEnvironment;
  /** The consumer's whole environment; the machine's has another identity in every place that outranks ours. */
  readonly consumer: () => Record<string, string>;
}

const conventions = {
  "the container endpoint": (bench: ReceiverBench) =>
    awsContainerFactory.create(awsContainerFactory.options.parse({}), bench.services),
  credential_process: (bench: ReceiverBench) => {
    const options = { configFile: join(bench.dir, "aws", "config") };
    return awsProcessFactory.create(awsProcessFactory.options.parse(options), bench.services);
  },
} as const;
const CONVENTIONS = Object.keys(conventions) as (keyof typeof conventions)[];

async function running(convention: keyof typeof conventions): Promise<Running> {
  const bench = receiverBench(systemClock);
  const receiver = conventions[convention](bench);
  const environment = await receiver.start();
  onTestFinished(() => receiver.stop());
  const home = join(bench.dir, "home");
  mkdirSync(join(home, ".aws"), { recursive: true });
  writeFileSync(
    join(home, ".aws", "credentials"),
    "[default]\naws_access_key_id = AKIAOFTHEPROFILE0000\naws_secret_access_key = x\n",
  );
  const base = {
    PATH: process.env["PATH"],
    HOME: home,
    AWS_ACCESS_KEY_ID: "AKIAOFTHEMACHINE0000",
    AWS_SECRET_ACCESS_KEY: "x",
    AWS_PROFILE: "somebody-else",
  };
  return { bench, receiver, environment, consumer: () => appliedTo(base, environment) };
}

describe.each(CONVENTIONS)("through %s", (convention) => {
  test("boto3 follows three rotations; outside of its window one request serves 100 signings", async () => {
    const { bench, receiver, consumer } = await running(convention);
    await receiver.apply(awsServing(systemClock, 1, WINDOW_MS + 12_000));
    const sign = startBoto3(program("python"), consumer());
    expect(await sign(100)).toEqual({ keys: [accessKeyOf(1)] });
    expect(bench.count("served")).toBe(1);

    // Applied while the client holds the first: it asks when the first comes into its window.
    await receiver.apply(awsServing(systemClock, 2, WINDOW_MS + 20_000));
    await eventually(async () => (await sign(1)).keys?.includes(accessKeyOf(2)) === true);
    expect(bench.count("served")).toBe(2);
    expect(await sign(100)).toEqual({ keys: [accessKeyOf(2)] });
    expect(bench.count("served")).toBe(2);

    await receiver.apply(awsServing(systemClock, 3));
    await eventually(async () => (await sign(1)).keys?.includes(accessKeyOf(3)) === true);
    expect(await sign(100)).toEqual({ keys: [accessKeyOf(3)] });
    expect(bench.count("served")).toBe(3);
  });

  test("inside its window boto3 asks at every signing, and always gets what is held", async () => {
    const { bench, receiver, consumer } = await running(convention);
    await receiver.apply(awsServing(systemClock, 1, WINDOW_MS - 60_000));
    const sign = startBoto3(program("python"), consumer());
    expect(await sign(20)).toEqual({ keys: [accessKeyOf(1)] });
    expect(bench.count("served")).toBeGreaterThanOrEqual(20);
  });

  test("boto3 gets an error, and nobody else's identity, when there is no credential", async () => {
    const { bench, receiver, consumer } = await running(convention);
    await receiver.apply(awsServing(systemClock, 1));
    await receiver.withdraw("lake");
    const sign = startBoto3(program("python"), consumer());
    expect(await sign(1)).toEqual({ error: "CredentialRetrievalError" });
    expect(bench.count("served")).toBe(0);
  });

  test("each AWS CLI call takes the credential of that moment, with one request", async () => {
    const { bench, receiver, consumer } = await running(convention);
    const service = await startAwsService();
    for (const n of [1, 2, 3]) {
      await receiver.apply(awsServing(systemClock, n));
      const args = ["s3api", "list-buckets", "--endpoint-url", service.url];
      const end = await runToEnd(program("aws"), args, consumer());
      expect(end).toMatchObject({ exitCode: 0, stderr: "" });
      expect(bench.count("served")).toBe(n);
    }
    expect(service.seen).toEqual(
      [1, 2, 3].map((n) => ({
        accessKey: accessKeyOf(n),
        sessionToken: `session-token-${n}-hush`,
        region: "eu-west-1",
      })),
    );
  });
});

test("requests of Python clients are counted as such, since botocore does not name itself here", async () => {
  const { bench, receiver, consumer } = await running("the container endpoint");
  await receiver.apply(awsServing(systemClock, 1));
  await startBoto3(program("python"), consumer())(1);
  const clients = bench.requests.filter(({ outcome }) => outcome === "served");
  expect(clients.map(({ client }) => client)).toEqual(["python"]);
});
