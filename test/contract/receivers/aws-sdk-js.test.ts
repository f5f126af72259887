import { join } from "node:path";
import { ListBucketsCommand, S3Client } from "@aws-sdk/client-s3";
import { fromHttp, fromProcess } from "@aws-sdk/credential-providers";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import { awsContainerFactory } from "../../../src/worker-agent/receivers/aws-container/index.ts";
import { awsProcessFactory } from "../../../src/worker-agent/receivers/aws-process/index.ts";
import { startAwsService } from "../../support/aws-service.ts";
import { eventually } from "../../support/eventually.ts";
import { accessKeyOf, awsServing, receiverBench } from "../support/receiver-bench.ts";

/** Inside of this much remaining life the JavaScript SDK asks again. */
const WINDOW_MS = 5 * 60_000;

test("the JavaScript SDK follows three rotations through fromHttp, with one request for each", async () => {
  const bench = receiverBench(systemClock);
  const options = awsContainerFactory.options.parse({});
  const receiver = awsContainerFactory.create(options, bench.services);
  const { set } = await receiver.start();
  onTestFinished(() => receiver.stop());
  const service = await startAwsService();
  const s3 = new S3Client({
    region: "eu-west-1",
    endpoint: service.url,
    forcePathStyle: true,
    credentials: fromHttp({
      awsContainerCredentialsFullUri: set["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ?? "",
      awsContainerAuthorizationTokenFile: set["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] ?? "",
    }),
  });
  onTestFinished(() => s3.destroy());
  const sign = async (times: number): Promise<string[]> => {
    const before = service.seen.length;
    for (let n = 0; n < times; n += 1) await s3.send(new ListBucketsCommand({}));
    return [...new Set(service.seen.slice(before).map(({ accessKey }) => accessKey))];
  };

  await receiver.apply(awsServing(systemClock, 1, WINDOW_MS + 4000));
  expect(await sign(100)).toEqual([accessKeyOf(1)]);
  expect(bench.count("served")).toBe(1);

  // Applied while the client holds the first: it asks when the first comes into its window.
  await receiver.apply(awsServing(systemClock, 2, WINDOW_MS + 9000));
  await eventually(async () => (await sign(1)).includes(accessKeyOf(2)));
  expect(bench.count("served")).toBe(2);
  expect(await sign(100)).toEqual([accessKeyOf(2)]);
  expect(bench.count("served")).toBe(2);

  await receiver.apply(awsServing(systemClock, 3));
  await eventually(async () => (await sign(1)).includes(accessKeyOf(3)));
  expect(await sign(100)).toEqual([accessKeyOf(3)]);
  expect(bench.count("served")).toBe(3);
  expect(service.seen.at(-1)?.sessionToken).toBe("session-token-3-hush");
});

test("inside its window the JavaScript SDK asks at every call, and gets the same credential each time", async () => {
  const bench = receiverBench(systemClock);
  const options = awsContainerFactory.options.parse({});
  const receiver = awsContainerFactory.create(options, bench.services);
  const { set } = await receiver.start();
  onTestFinished(() => receiver.stop());
  await receiver.apply(awsServing(systemClock, 1, WINDOW_MS - 60_000));
  const provider = fromHttp({
    awsContainerCredentialsFullUri: set["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ?? "",
    awsContainerAuthorizationTokenFile: set["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] ?? "",
  });
  for (let n = 0; n < 10; n += 1) {
    expect((await provider()).accessKeyId).toBe(accessKeyOf(1));
  }
  expect(bench.count("served")).toBe(10);
});

test("the JavaScript SDK takes the profile that aws-process writes", async () => {
  const bench = receiverBench(systemClock);
  const raw = { configFile: join(bench.dir, "a folder", "config"), region: "eu-north-1" };
  const socket = join(bench.dir, "a folder", "s.sock");
  const options = awsProcessFactory.options.parse({ ...raw, socket });
  const receiver = awsProcessFactory.create(options, bench.services);
  const { set } = await receiver.start();
  onTestFinished(() => receiver.stop());
  await receiver.apply(awsServing(systemClock, 1));
  const provider = fromProcess({
    profile: set["AWS_PROFILE"] ?? "",
    configFilepath: set["AWS_CONFIG_FILE"] ?? "",
    filepath: set["AWS_SHARED_CREDENTIALS_FILE"] ?? "",
  });
  expect(await provider()).toMatchObject({
    accessKeyId: accessKeyOf(1),
    sessionToken: "session-token-1-hush",
    accountId: "123456789012",
  });
  await receiver.apply(awsServing(systemClock, 2));
  expect((await provider()).accessKeyId).toBe(accessKeyOf(2));
  expect(bench.count("served")).toBe(2);
});
