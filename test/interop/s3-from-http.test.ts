/** The AWS SDK's own S3 client, fed by `fromHttp`, at work without a pause for the life of a job. */
import { randomBytes } from "node:crypto";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { fromHttp } from "@aws-sdk/credential-providers";
import { expect, onTestFinished, test } from "vitest";
import { startS3Emulator } from "../../src/emulators/aws-s3/server.ts";
import { systemRandom } from "../../src/runtime/system-clock.ts";
import { eventually } from "../support/eventually.ts";
import { startJobRig } from "../support/job-rig.ts";
import { startNats, startRedis } from "../support/servers.ts";

test("@aws-sdk/client-s3 writes and reads through three rotations, and no request is refused", async () => {
  const [nats, redis] = await Promise.all([startNats(), startRedis()]);
  const rig = await startJobRig({ nats, redis, job: "s3", lifetimeMs: 12_000, ratio: 0.5 });
  const service = await startS3Emulator({ sts: rig.sts, random: systemRandom });
  rig.atEnd(() => service.stop());
  const coordinator = await rig.coordinator();
  await coordinator.ready();
  const agent = await rig.sidecar({ config: { status: { port: 0 } } });
  await agent.ready(10_000);
  const set = agent.environments().find(({ kind }) => kind === "aws-container")?.environment.set;
  const s3 = new S3Client({
    region: "eu-west-1",
    endpoint: service.url,
    forcePathStyle: true,
    // A refused request must show: nothing is tried a second time.
    maxAttempts: 1,
    credentials: fromHttp({
      awsContainerCredentialsFullUri: set?.["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ?? "",
      awsContainerAuthorizationTokenFile: set?.["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] ?? "",
    }),
  });
  onTestFinished(() => s3.destroy());

  let requests = 0;
  const rotations = () => coordinator.status().rotations.length;
  while (rotations() < 4) {
    const [Key, body] = [`part-${requests}`, randomBytes(1024).toString("hex")];
    await s3.send(new PutObjectCommand({ Bucket: "lake", Key, Body: body }));
    const { Body } = await s3.send(new GetObjectCommand({ Bucket: "lake", Key }));
    expect(await Body?.transformToString()).toBe(body);
    requests += 2;
  }
  await eventually(() => coordinator.status().rotations.at(-1)?.state === "done");
  await s3.send(new PutObjectCommand({ Bucket: "lake", Key: "last", Body: "1" }));
  const { counters } = service;
  expect(counters.total).toBe(requests + 1);
  const outcomes = new Set(Object.values(counters.calls).flatMap((of) => Object.keys(of)));
  expect([...outcomes]).toEqual(["ok"]);
  // Every generation has served some of them, and each was one call at STS.
  expect(Object.keys(counters.keys)).toHaveLength(4);
  expect(rig.issued()).toBe(4);
  expect(coordinator.status().rotations.map(({ reason }) => reason)).toEqual([
    "initial",
    "scheduled",
    "scheduled",
    "scheduled",
  ]);
});
