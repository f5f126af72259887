/** The S3 emulator under the real SDK client, with credentials of the STS emulator and their end. */
import { Readable } from "node:stream";
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { AssumeRoleCommand, STSClient } from "@aws-sdk/client-sts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type S3Call,
  type S3Emulator,
  startS3Emulator,
} from "../../src/emulators/aws-s3/server.ts";
import { type StsEmulator, startStsEmulator } from "../../src/emulators/aws-sts/server.ts";
import { systemClock, systemRandom } from "../../src/runtime/system-clock.ts";

const Bucket = "lake";
let sts: StsEmulator;
let s3: S3Emulator;
let issuer: STSClient;
const clients: S3Client[] = [];

interface Issued {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

async function issue(): Promise<Issued> {
  const { Credentials: issued } = await issuer.send(
    new AssumeRoleCommand({
      RoleArn: "arn:aws:iam::123456789012:role/lake",
      RoleSessionName: "job",
    }),
  );
  return {
    accessKeyId: issued?.AccessKeyId ?? "",
    secretAccessKey: issued?.SecretAccessKey ?? "",
    sessionToken: issued?.SessionToken ?? "",
  };
}

type ClientOptions = NonNullable<ConstructorParameters<typeof S3Client>[0]>;

function clientWith(
  credentials: NonNullable<ClientOptions["credentials"]>,
  more: ClientOptions = {},
) {
  const client = new S3Client({
    endpoint: s3.url,
    region: "eu-west-1",
    forcePathStyle: true,
    maxAttempts: 1,
    credentials,
    ...more,
  });
  clients.push(client);
  return client;
}

beforeEach(async () => {
  sts = await startStsEmulator({ clock: systemClock, random: systemRandom });
  s3 = await startS3Emulator({ sts, random: systemRandom, buckets: [Bucket] });
  const { accessKeyId, secretAccessKey } = sts.baseCredentials;
  const credentials = { accessKeyId, secretAccessKey: secretAccessKey.reveal() };
  issuer = new STSClient({ endpoint: sts.url, region: "eu-west-1", credentials, maxAttempts: 1 });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  issuer.destroy();
  await s3.stop();
  await sts.stop();
});

describe("objects", () => {
  const Key = "out/päth with space/+&=~!'()*.txt";

  it("what was put comes back, with its metadata, checksum and ETag", async () => {
    const client = clientWith(await issue());
    const put = await client.send(
      new PutObjectCommand({
        Bucket,
        Key,
        Body: "hello",
        ContentType: "text/plain",
        Metadata: { a: "1" },
      }),
    );
    const got = await client.send(new GetObjectCommand({ Bucket, Key }));
    expect(await got.Body?.transformToString()).toBe("hello");
    expect(got).toMatchObject({ ContentType: "text/plain", Metadata: { a: "1" }, ETag: put.ETag });
    expect(put.ChecksumCRC32).toBe("NhCmhg==");
    const head = await client.send(new HeadObjectCommand({ Bucket, Key }));
    expect(head).toMatchObject({ ContentLength: 5, ETag: put.ETag });
    expect(s3.counters.calls).toEqual({
      PutObject: { ok: 1 },
      GetObject: { ok: 1 },
      HeadObject: { ok: 1 },
    });
  });

  it.each([
    ["a stream (aws-chunked with a trailing checksum)", {}],
    ["a stream with no checksum unless required", { requestChecksumCalculation: "WHEN_REQUIRED" }],
  ] as const)("takes %s", async (_what, options) => {
    const client = clientWith(await issue(), options);
    const parts = Array.from({ length: 40 }, (_, index) => Buffer.alloc(4_096, index));
    const Body = Readable.from(parts);
    const ContentLength = 40 * 4_096;
    await client.send(new PutObjectCommand({ Bucket, Key, Body, ContentLength }));
    const got = await client.send(new GetObjectCommand({ Bucket, Key }));
    const bytes = await got.Body?.transformToByteArray();
    expect(Buffer.concat(parts).equals(Buffer.from(bytes ?? []))).toBe(true);
  });

  it("answers ranges with 206", async () => {
    const client = clientWith(await issue());
    await client.send(new PutObjectCommand({ Bucket, Key, Body: "0123456789" }));
    const part = await client.send(new GetObjectCommand({ Bucket, Key, Range: "bytes=2-4" }));
    expect(part.$metadata.httpStatusCode).toBe(206);
    expect(await part.Body?.transformToString()).toBe("234");
    expect(part.ContentRange).toBe("bytes 2-4/10");
  });

  it("a wrong checksum, an absent key and an absent bucket are refused by name", async () => {
    const client = clientWith(await issue());
    const wrong = new PutObjectCommand({ Bucket, Key, Body: "x", ChecksumSHA256: "AAAA" });
    await expect(client.send(wrong)).rejects.toMatchObject({ name: "BadDigest" });
    const absent = new GetObjectCommand({ Bucket, Key: "absent" });
    await expect(client.send(absent)).rejects.toMatchObject({ name: "NoSuchKey" });
    const elsewhere = new GetObjectCommand({ Bucket: "elsewhere", Key });
    await expect(client.send(elsewhere)).rejects.toMatchObject({ name: "NoSuchBucket" });
  });
});

describe("listing", () => {
  it("pages through all keys in byte order, and folds by delimiter", async () => {
    const client = clientWith(await issue());
    const keys = ["a/1", "a/2", "b/1", "c d+é", "z"];
    for (const Key of keys) await client.send(new PutObjectCommand({ Bucket, Key, Body: Key }));
    const seen: string[] = [];
    let pages = 0;
    let ContinuationToken: string | undefined;
    do {
      const page = await client.send(
        new ListObjectsV2Command({ Bucket, MaxKeys: 2, ContinuationToken }),
      );
      seen.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ""));
      pages += 1;
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(seen).toEqual(keys);
    expect(pages).toBe(3);
    const folded = await client.send(
      new ListObjectsV2Command({ Bucket, Delimiter: "/", EncodingType: "url" }),
    );
    expect(folded.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(["a/", "b/"]);
    expect(folded.Contents?.map(({ Key }) => Key)).toEqual(["c%20d%2B%C3%A9", "z"]);
    const within = await client.send(
      new ListObjectsV2Command({ Bucket, Prefix: "a/", StartAfter: "a/1" }),
    );
    expect(within.Contents?.map(({ Key, Size }) => [Key, Size])).toEqual([["a/2", 3]]);
  });
});

describe("credentials", () => {
  const list = new ListObjectsV2Command({ Bucket });

  it("opens only to issued ones: base keys, strangers and wrong tokens are refused", async () => {
    const issued = await issue();
    const { accessKeyId, secretAccessKey } = sts.baseCredentials;
    const cases = [
      [{ accessKeyId, secretAccessKey: secretAccessKey.reveal() }, "AccessDenied", 403],
      [{ ...issued, accessKeyId: "ASIAUNKNOWN" }, "InvalidAccessKeyId", 403],
      [{ ...issued, secretAccessKey: "wrong" }, "SignatureDoesNotMatch", 403],
      [{ ...issued, sessionToken: "wrong" }, "InvalidToken", 400],
    ] as const;
    for (const [credentials, name, httpStatusCode] of cases) {
      await expect(clientWith(credentials).send(list)).rejects.toMatchObject({
        name,
        $metadata: { httpStatusCode },
      });
    }
    expect(await fetch(`${s3.url}/${Bucket}`).then(({ status }) => status)).toBe(403);
  });

  it("refuses a credential from its expiry on with ExpiredToken, and accepts the next one", async () => {
    sts.knobs.lifetimeMs = 12_000;
    const first = await issue();
    await clientWith(first).send(list);
    sts.knobs.clockSkewMs += 13_000;
    await expect(clientWith(first).send(list)).rejects.toMatchObject({
      name: "ExpiredToken",
      $metadata: { httpStatusCode: 400 },
    });
    const second = await issue();
    await clientWith(second).send(list);
    expect(s3.counters.keys).toEqual({
      [first.accessKeyId]: { ok: 1, ExpiredToken: 1 },
      [second.accessKeyId]: { ok: 1 },
    });
  });

  it("one client is driven over four rotations by its provider without a refusal", async () => {
    sts.knobs.lifetimeMs = 12_000;
    const answers: S3Call[] = [];
    s3.onAnswer = (call) => answers.push(call);
    // A provider without expiration is asked for every request, so each rotation is used at once.
    let current = await issue();
    const client = clientWith(async () => ({ ...current, expiration: new Date(0) }));
    for (let rotation = 1; rotation <= 4; rotation += 1) {
      await client.send(new PutObjectCommand({ Bucket, Key: `part-${rotation}`, Body: "x" }));
      sts.knobs.clockSkewMs += 9_000;
      current = await issue();
    }
    expect(answers.map(({ outcome }) => outcome)).toEqual(["ok", "ok", "ok", "ok"]);
    expect(new Set(answers.map(({ accessKeyId }) => accessKeyId)).size).toBe(4);
  });
});
