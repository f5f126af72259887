/** The published examples of AWS: the IAM and S3 walk-throughs and the Signature Version 4 test suite. */
import { describe, expect, it } from "vitest";
import {
  canonicalRequest,
  parseAmzDate,
  parseAuthorization,
  type SignedRequest,
  scopeOf,
  sha256Hex,
  signatureOf,
  signingKey,
  stringToSign,
} from "../../src/emulators/aws-sts/sigv4.ts";

const SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const S3_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY = sha256Hex("");

function sign(
  request: SignedRequest,
  options: {
    secret?: string;
    scope: string;
    amzDate: string;
    headers: string;
    hash?: string;
    s3?: boolean;
  },
): { canonical: string; signature: string } {
  const { secret = SECRET, scope, amzDate, headers, hash = EMPTY, s3 = false } = options;
  const canonical = canonicalRequest(request, headers.split(";"), hash, s3);
  const toSign = stringToSign(amzDate, scope, canonical);
  return { canonical, signature: signatureOf(signingKey(secret, scope), toSign) };
}

const SUITE = {
  scope: "20150830/us-east-1/service/aws4_request",
  amzDate: "20150830T123600Z",
  headers: "host;x-amz-date",
};
const SUITE_HEADERS: [string, string][] = [
  ["Host", "example.amazonaws.com"],
  ["X-Amz-Date", "20150830T123600Z"],
];
const suiteGet = (target: string): SignedRequest => ({
  method: "GET",
  target,
  headers: SUITE_HEADERS,
});

describe("the IAM walk-through", () => {
  const request: SignedRequest = {
    method: "GET",
    target: "/?Action=ListUsers&Version=2010-05-08",
    headers: [
      ["Host", "iam.amazonaws.com"],
      ["Content-Type", "application/x-www-form-urlencoded; charset=utf-8"],
      ["X-Amz-Date", "20150830T123600Z"],
    ],
  };
  const scope = "20150830/us-east-1/iam/aws4_request";

  it("has the published canonical request, signing key and signature", () => {
    const signed = sign(request, {
      scope,
      amzDate: "20150830T123600Z",
      headers: "content-type;host;x-amz-date",
    });
    expect(sha256Hex(signed.canonical)).toBe(
      "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59",
    );
    expect(signingKey(SECRET, scope).toString("hex")).toBe(
      "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9",
    );
    expect(signed.signature).toBe(
      "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    );
  });
});

describe("the Signature Version 4 test suite", () => {
  const VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

  it.each([
    ["get-vanilla", "/", VANILLA],
    ["get-relative", "/example/..", VANILLA],
    ["get-slash", "//", VANILLA],
    ["get-slash-dot-slash", "/./", VANILLA],
    [
      "get-vanilla-query-order-key-case",
      "/?Param2=value2&Param1=value1",
      "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ],
  ])("%s has the published signature", (_name, target, signature) => {
    expect(sign(suiteGet(target), SUITE).signature).toBe(signature);
  });

  it("get-space encodes the path's space once", () => {
    expect(canonicalRequest(suiteGet("/example space/"), ["host"], EMPTY)).toContain(
      "GET\n/example%20space/\n",
    );
  });
});

describe("the S3 walk-through", () => {
  const S3 = {
    secret: S3_SECRET,
    scope: "20130524/us-east-1/s3/aws4_request",
    amzDate: "20130524T000000Z",
    s3: true,
  };
  const base: [string, string][] = [
    ["Host", "examplebucket.s3.amazonaws.com"],
    ["x-amz-date", "20130524T000000Z"],
  ];

  it("GET of a range has the published signature", () => {
    const headers: [string, string][] = [
      ...base,
      ["Range", "bytes=0-9"],
      ["x-amz-content-sha256", EMPTY],
    ];
    const request = { method: "GET", target: "/test.txt", headers };
    const signed = sign(request, { ...S3, headers: "host;range;x-amz-content-sha256;x-amz-date" });
    expect(signed.signature).toBe(
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
  });

  it("PUT of an encoded key has the published signature", () => {
    const hash = sha256Hex("Welcome to Amazon S3.");
    const headers: [string, string][] = [
      ...base,
      ["Date", "Fri, 24 May 2013 00:00:00 GMT"],
      ["x-amz-content-sha256", hash],
      ["x-amz-storage-class", "REDUCED_REDUNDANCY"],
    ];
    const request = { method: "PUT", target: "/test%24file.text", headers };
    const signed = sign(request, {
      ...S3,
      hash,
      headers: "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
    });
    expect(signed.signature).toBe(
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
  });

  it.each([
    [
      "lifecycle",
      "/?lifecycle",
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ],
    [
      "list",
      "/?max-keys=2&prefix=J",
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ],
  ])("GET bucket %s has the published signature", (_name, target, signature) => {
    const headers: [string, string][] = [...base, ["x-amz-content-sha256", EMPTY]];
    const request = { method: "GET", target, headers };
    const signed = sign(request, { ...S3, headers: "host;x-amz-content-sha256;x-amz-date" });
    expect(signed.signature).toBe(signature);
  });
});

describe("canonical parts", () => {
  it("folds white space in header values and joins repeated headers in wire order", () => {
    const request: SignedRequest = {
      method: "GET",
      target: "/",
      headers: [
        ["My-Header1", "  a   b   c "],
        ["My-Header2", "value2"],
        ["my-header2", "value1"],
      ],
    };
    expect(canonicalRequest(request, ["my-header1", "my-header2"], EMPTY)).toBe(
      `GET\n/\n\nmy-header1:a b c\nmy-header2:value2,value1\n\nmy-header1;my-header2\n${EMPTY}`,
    );
  });

  it("encodes the path again for all services but S3", () => {
    const request = suiteGet("/a%20b/../c//d");
    expect(canonicalRequest(request, ["host"], EMPTY)).toContain("GET\n/c/d\n");
    expect(canonicalRequest(suiteGet("/a%20b"), ["host"], EMPTY)).toContain("GET\n/a%2520b\n");
    expect(canonicalRequest(request, ["host"], EMPTY, true)).toContain("GET\n/a%20b/../c//d\n");
  });

  it("sorts query parameters by name, then by value, after encoding", () => {
    const canonical = canonicalRequest(suiteGet("/?b=2&a=z&a=!&c"), ["host"], EMPTY);
    expect(canonical).toContain("\na=%21&a=z&b=2&c=\n");
  });

  it("reads an Authorization header with or without spaces after its commas", () => {
    const scope = "20150830/us-east-1/sts/aws4_request";
    for (const gap of ["", " "]) {
      const header = `AWS4-HMAC-SHA256 Credential=AKID/${scope},${gap}SignedHeaders=host;x-amz-date,${gap}Signature=ab`;
      const read = parseAuthorization(header);
      expect(read?.accessKeyId).toBe("AKID");
      expect(read && scopeOf(read)).toBe(scope);
      expect(read?.signedHeaders).toEqual(["host", "x-amz-date"]);
    }
  });

  it.each([
    "",
    "Bearer x",
    "AWS4-HMAC-SHA256 Credential=AKID, SignedHeaders=host, Signature=ab",
    "AWS4-HMAC-SHA256 Credential=AKID/1/2/3/aws4_request, SignedHeaders=, Signature=ab",
    "AWS4-HMAC-SHA256 Credential=AKID/1/2/3/aws4_request, SignedHeaders=host",
  ])("takes %j for no Authorization header of this algorithm", (header) => {
    expect(parseAuthorization(header)).toBeUndefined();
  });

  it("reads dates of the basic form only", () => {
    expect(parseAmzDate("20150830T123600Z")).toBe(Date.UTC(2015, 7, 30, 12, 36));
    expect(parseAmzDate("2015-08-30T12:36:00Z")).toBeUndefined();
  });
});
