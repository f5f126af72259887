import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EvergrantError } from "../../../src/protocol/errors.ts";
import {
  decodeIdentifier,
  encodeIdentifier,
  encodeYarnIdentifier,
  identifierOf,
  type TokenIdentifier,
} from "../../../src/protocol/hadoop/identifier.ts";
import {
  type HadoopToken,
  relabel,
  sameGrant,
  tokenFromUrlString,
  tokenToUrlString,
} from "../../../src/protocol/hadoop/token.ts";
import {
  EMPTY_STORAGE,
  readTokenStorage,
  type TokenStorage,
  writeTokenStorage,
} from "../../../src/protocol/hadoop/token-storage.ts";
import { WritableReader, WritableWriter } from "../../../src/protocol/hadoop/writable.ts";
import { Secret } from "../../../src/protocol/secret.ts";

interface Vectors {
  readonly vlong: Readonly<Record<string, string>>;
  readonly identifier: {
    readonly fields: {
      readonly owner: string;
      readonly renewer: string;
      readonly realUser: string;
      readonly issueDate: number;
      readonly maxDate: number;
      readonly sequenceNumber: number;
      readonly masterKeyId: number;
    };
    readonly hex: string;
  };
  readonly urlString: string;
  readonly fileV0: string;
  readonly fileV1: string;
  readonly emptyV0: string;
  readonly emptyV1: string;
}

const vectors: Vectors = JSON.parse(
  readFileSync(new URL("../../vectors/hdts-vectors.json", import.meta.url), "utf8"),
);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));
const unbase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
const fileV0 = unbase64(vectors.fileV0);
const fileV1 = unbase64(vectors.fileV1);
const refused = (work: () => unknown): void => {
  let thrown: unknown;
  try {
    work();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(EvergrantError);
  expect(thrown).toMatchObject({ code: "MESSAGE_MALFORMED" });
};

const aText = fc.string({ unit: "binary", maxLength: 300 });
const someBytes = fc.uint8Array({ maxLength: 300 });
const aToken: fc.Arbitrary<HadoopToken> = fc.record({
  identifier: someBytes,
  password: someBytes.map((bytes) => new Secret(bytes)),
  kind: aText,
  service: aText,
});
const aStorage: fc.Arbitrary<TokenStorage> = fc.record({
  tokens: fc.array(fc.tuple(aText, aToken), { maxLength: 5 }).map((pairs) => new Map(pairs)),
  secrets: fc
    .array(fc.tuple(aText, someBytes), { maxLength: 5 })
    .map((pairs) => new Map(pairs.map(([alias, bytes]) => [alias, new Secret(bytes)]))),
});
const anIdentifier: fc.Arbitrary<TokenIdentifier> = fc.record({
  owner: aText,
  renewer: aText,
  realUser: aText,
  issueDate: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  maxDate: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  sequenceNumber: fc.integer(),
  masterKeyId: fc.integer(),
});

/** Everything in a storage, passwords included, in a form that can be compared. */
function laidOpen(storage: TokenStorage): unknown {
  return {
    tokens: [...storage.tokens].map(([alias, token]) => ({
      alias,
      ...token,
      password: hex(token.password.reveal()),
      identifier: hex(token.identifier),
    })),
    secrets: [...storage.secrets].map(([alias, secret]) => [alias, hex(secret.reveal())]),
  };
}

describe("VLong", () => {
  it.each(Object.entries(vectors.vlong))("%s is %s both ways", (decimal, encoded) => {
    expect(hex(new WritableWriter().vlong(BigInt(decimal)).toBytes())).toBe(encoded);
    expect(new WritableReader(unhex(encoded)).vlong()).toBe(BigInt(decimal));
  });

  it("brings back every 64-bit number", () => {
    void fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const reader = new WritableReader(new WritableWriter().vlong(value).toBytes());
        expect(reader.vlong()).toBe(value);
        expect(reader.remaining).toBe(0);
      }),
    );
  });

  it("is refused as a VInt beyond 32 bits", () => {
    refused(() => new WritableReader(unhex("8c80000000")).vint());
    expect(() => new WritableWriter().vint(2 ** 31)).toThrow(RangeError);
    expect(() => new WritableWriter().vlong(2n ** 63n)).toThrow(RangeError);
  });
});

describe("Text", () => {
  it.each([
    [127, "7f"],
    [128, "8f80"],
    [256, "8e0100"],
    [70_000, "8d011170"],
  ])("of %d bytes bears the length prefix %s", (length, prefix) => {
    const bytes = new WritableWriter().text("a".repeat(length)).toBytes();
    expect(hex(bytes.subarray(0, prefix.length / 2))).toBe(prefix);
    expect(new WritableReader(bytes).text()).toHaveLength(length);
  });

  it("that is not UTF-8, of negative length or longer than the input is refused", () => {
    refused(() => new WritableReader(unhex("02c328")).text());
    refused(() => new WritableReader(unhex("ff")).text());
    refused(() => new WritableReader(unhex("8c7fffffff00")).bytes());
  });
});

describe("identifier", () => {
  const { issueDate, maxDate, ...fields } = vectors.identifier.fields;
  const expected = { ...fields, issueDate: BigInt(issueDate), maxDate: BigInt(maxDate) };

  it("of the vectors is the same both ways", () => {
    expect(decodeIdentifier(unhex(vectors.identifier.hex))).toEqual(expected);
    expect(hex(encodeIdentifier(expected))).toBe(vectors.identifier.hex);
  });

  it("tolerates the bytes that subclasses append", () => {
    expect(decodeIdentifier(unhex(`${vectors.identifier.hex}0102`))).toEqual(expected);
  });

  it("comes back from either form, told apart by its first byte", () => {
    void fc.assert(
      fc.property(anIdentifier, (identifier) => {
        expect(decodeIdentifier(encodeIdentifier(identifier))).toEqual(identifier);
        expect(encodeYarnIdentifier(identifier)[0]).toBe(0x0a);
        expect(decodeIdentifier(encodeYarnIdentifier(identifier))).toEqual(identifier);
      }),
    );
  });

  it("is refused when it is cut or of another version", () => {
    const whole = unhex(vectors.identifier.hex);
    for (let end = 0; end < whole.length; end += 1) {
      refused(() => decodeIdentifier(whole.subarray(0, end)));
    }
    refused(() => decodeIdentifier(unhex("08")));
  });

  it("of an unknown kind stays opaque, whatever its bytes", () => {
    const token = (kind: string): HadoopToken => ({
      identifier: unhex("0801"),
      password: new Secret(new Uint8Array()),
      kind,
      service: "",
    });
    expect(identifierOf(token("OzoneToken"))).toBeUndefined();
    refused(() => identifierOf(token("HDFS_DELEGATION_TOKEN")));
  });
});

describe("url string", () => {
  const token = tokenFromUrlString(vectors.urlString);

  it("of the vectors holds the vectors' identifier, password, kind and service", () => {
    expect(hex(token.identifier)).toBe(vectors.identifier.hex);
    expect(hex(token.password.reveal())).toBe("000102030405060708090a0b0c0d0e0f10111213");
    expect(token.kind).toBe("HDFS_DELEGATION_TOKEN");
    expect(token.service).toBe("ha-hdfs:nameservice1");
    expect(tokenToUrlString(token)).toBe(vectors.urlString);
  });

  it("is read in both alphabets, padded or not", () => {
    const standard = vectors.urlString.replaceAll("-", "+").replaceAll("_", "/");
    for (const form of [standard, `${standard}=`, `${vectors.urlString}=`]) {
      expect(tokenToUrlString(tokenFromUrlString(form))).toBe(vectors.urlString);
    }
  });

  it("comes back for every token", () => {
    void fc.assert(
      fc.property(aToken, (any) => {
        const back = tokenFromUrlString(tokenToUrlString(any));
        expect(sameGrant(back, any)).toBe(true);
        expect([back.kind, back.service]).toEqual([any.kind, any.service]);
      }),
    );
  });

  it("is refused when it is no base64, cut, or has bytes left over", () => {
    for (const wrong of ["", "a b", "<html>", vectors.urlString.slice(0, -4)]) {
      refused(() => tokenFromUrlString(wrong));
    }
    const longer = Buffer.concat([Buffer.from(vectors.urlString, "base64url"), Buffer.of(0)]);
    refused(() => tokenFromUrlString(longer.toString("base64url")));
  });

  it("changes its labels and nothing else", () => {
    const other = relabel(token, { kind: "SWEBHDFS delegation", service: "ha-swebhdfs:ns" });
    expect(sameGrant(other, token)).toBe(true);
    expect(relabel(other, { kind: token.kind, service: token.service })).toEqual(token);
  });
});

describe("token storage", () => {
  it("of both versions in the vectors holds the same, and is written byte for byte", () => {
    const storage = readTokenStorage(fileV0);
    expect([...storage.tokens.keys()]).toEqual([
      "ha-hdfs:nameservice1",
      "kms://https@kms.example.com:9600/kms",
    ]);
    const kms = storage.tokens.get("kms://https@kms.example.com:9600/kms");
    expect(kms?.kind).toBe("kms-dt");
    expect(kms && identifierOf(kms)?.sequenceNumber).toBe(9);
    expect(hex(storage.secrets.get("my.secret")?.reveal() ?? new Uint8Array())).toBe(
      "0001ff736563726574",
    );
    expect(laidOpen(readTokenStorage(fileV1))).toEqual(laidOpen(storage));
    expect(writeTokenStorage(storage)).toEqual(fileV0);
    expect(writeTokenStorage(storage, 1)).toEqual(fileV1);
  });

  it("may be empty in both versions", () => {
    expect(hex(writeTokenStorage(EMPTY_STORAGE))).toBe(vectors.emptyV0);
    expect(hex(writeTokenStorage(EMPTY_STORAGE, 1))).toBe(vectors.emptyV1);
    for (const empty of [vectors.emptyV0, vectors.emptyV1]) {
      expect(laidOpen(readTokenStorage(unhex(empty)))).toEqual({ tokens: [], secrets: [] });
    }
  });

  it("comes back in both versions, whatever is in it", () => {
    void fc.assert(
      fc.property(aStorage, fc.constantFrom(0 as const, 1 as const), (storage, version) => {
        const back = readTokenStorage(writeTokenStorage(storage, version));
        expect(laidOpen(back)).toEqual(laidOpen(storage));
      }),
    );
  });

  it.each([
    ["0", fileV0],
    ["1", fileV1],
  ])("of version %s is refused at every cut", (_version, file) => {
    for (let end = 0; end < file.length; end += 1) {
      refused(() => readTokenStorage(file.subarray(0, end)));
    }
  });

  it("either reads or refuses any bytes at all, and allocates nothing on a length's word", () => {
    void fc.assert(
      fc.property(fc.constantFrom(0, 1), fc.uint8Array({ maxLength: 400 }), (version, tail) => {
        const file = Uint8Array.of(0x48, 0x44, 0x54, 0x53, version, ...tail);
        try {
          readTokenStorage(file);
        } catch (error) {
          expect(error).toMatchObject({ code: "MESSAGE_MALFORMED" });
        }
      }),
      { numRuns: 1000 },
    );
    const before = process.memoryUsage();
    for (const huge of ["48445453008c7fffffff", "4844545300018c7fffffff", "4844545301ffffffff0f"]) {
      refused(() => readTokenStorage(unhex(huge)));
    }
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(1_000_000);
  });

  it("of a future version, with a wrong magic or with bytes left over is refused", () => {
    refused(() => readTokenStorage(unhex("48445453020000")));
    refused(() => readTokenStorage(unhex("48445454000000")));
    refused(() => readTokenStorage(unhex(`${vectors.emptyV0}00`)));
    refused(() => readTokenStorage(unhex(`${vectors.emptyV1}00`)));
  });

  it("of version 1 skips fields that it does not know and wants those that it must have", () => {
    const withUnknownFields = unhex("4844545301051801220178");
    expect(readTokenStorage(withUnknownFields).tokens.size).toBe(0);
    const entryWithoutToken = unhex("4844545301050a030a0178");
    refused(() => readTokenStorage(entryWithoutToken));
    const numberAsEntry = unhex("4844545301020801");
    refused(() => readTokenStorage(numberAsEntry));
  });

  it("shows no password when it is printed or thrown at JSON", () => {
    const storage = readTokenStorage(fileV0);
    const seen = inspect(storage, { depth: 9 }) + JSON.stringify([...storage.tokens]);
    expect(seen).toContain("[secret]");
    expect(seen).not.toContain("0, 1, 2, 3, 4, 5, 6, 7, 8, 9");
  });
});
