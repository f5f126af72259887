/** aws-chunked bodies: the published example of S3, trailers, and what is refused. */
import { describe, expect, it } from "vitest";
import { type ChunkSigning, decodeChunked } from "../../src/emulators/aws-s3/aws-chunked.ts";
import { signingKey } from "../../src/emulators/aws-sts/sigv4.ts";

const scope = "20130524/us-east-1/s3/aws4_request";
const PUBLISHED: ChunkSigning = {
  key: signingKey("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", scope),
  amzDate: "20130524T000000Z",
  scope,
  seed: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
};
const SIGNATURES = [
  "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
  "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
  "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];
const SIZES = [65_536, 1_024, 0];
const published = SIZES.map(
  (size, index) =>
    `${size.toString(16)};chunk-signature=${SIGNATURES[index]}\r\n${"a".repeat(size)}\r\n`,
).join("");

describe("signed chunks", () => {
  it("the published example of 66560 bytes decodes, each chunk under its signature", () => {
    const decoded = decodeChunked(Buffer.from(published), PUBLISHED);
    expect(decoded.ok && decoded.data.equals(Buffer.from("a".repeat(66_560)))).toBe(true);
  });

  it.each([
    ["a changed byte", published.replace("aaa", "aba")],
    [
      "a chunk signature of another chunk",
      published.replace(SIGNATURES[1] ?? "", SIGNATURES[0] ?? ""),
    ],
    ["a chunk without a signature", published.replace(/;chunk-signature=0055\w+/, "")],
  ])("refuses %s", (_what, body) => {
    expect(decodeChunked(Buffer.from(body), PUBLISHED)).toEqual({ ok: false, problem: "mismatch" });
  });
});

describe("unsigned chunks", () => {
  it("decode with their trailers", () => {
    const body = "5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
    const decoded = decodeChunked(Buffer.from(body));
    expect(decoded.ok && decoded.data.toString()).toBe("hello world");
    expect(decoded.ok && [...decoded.trailers]).toEqual([["x-amz-checksum-crc32", "DUoRhQ=="]]);
  });

  it.each([
    "",
    "5\r\nhel",
    "zz\r\n",
    "5\r\nhelloXX0\r\n\r\n",
    "5\r\nhello\r\n",
    "0\r\nno colon\r\n\r\n",
  ])("refuses %j", (body) => {
    expect(decodeChunked(Buffer.from(body))).toEqual({ ok: false, problem: "malformed" });
  });
});
