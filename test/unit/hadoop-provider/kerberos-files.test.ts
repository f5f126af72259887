import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  cacheFacts,
  keytabPrincipals,
} from "../../../src/coordinator/providers/hadoop/kerberos-files.ts";
import { judgeTrace } from "../../../src/coordinator/providers/hadoop/krb5-codes.ts";

const u8 = (value: number): Buffer => Buffer.of(value);
const u16 = (value: number): Buffer => Buffer.of(value >> 8, value & 0xff);
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
const data = (bytes: Buffer): Buffer => Buffer.concat([u32(bytes.length), bytes]);
const text = (value: string): Buffer => data(Buffer.from(value));
const short = (value: string): Buffer => Buffer.concat([u16(value.length), Buffer.from(value)]);

function principal(realm: string, ...names: string[]): Buffer {
  return Buffer.concat([u32(1), u32(names.length), text(realm), ...names.map(text)]);
}

function credential(server: Buffer, starts: number, ends: number): Buffer {
  return Buffer.concat([
    principal("A.TEST", "etl"),
    server,
    u16(18),
    data(Buffer.alloc(32)),
    ...[starts, starts, ends, ends].map(u32),
    u8(0),
    u32(0),
    u32(0),
    u32(0),
    text("ticket"),
    text(""),
  ]);
}

const cache = Buffer.concat([
  u16(0x0504),
  u16(12),
  Buffer.alloc(12),
  principal("A.TEST", "etl"),
  credential(principal("X-CACHECONF:", "krb5_ccache_conf_data"), 0, 0),
  credential(principal("A.TEST", "krbtgt", "A.TEST"), 1_000, 2_000),
  credential(principal("A.TEST", "HTTP", "nn1"), 1_000, 9_000),
]);

function keytabEntry(size: number, realm: string, ...names: string[]): Buffer {
  const body = Buffer.concat([
    u16(names.length),
    short(realm),
    ...names.map(short),
    u32(1),
    u32(0),
  ]);
  return Buffer.concat([u32(size < 0 ? -body.length : body.length), body]);
}
const keytab = Buffer.concat([
  u16(0x0502),
  keytabEntry(1, "A.TEST", "etl"),
  keytabEntry(-1, "A.TEST", "removed"),
  keytabEntry(1, "A.TEST", "HTTP", "nn1"),
]);

describe("a credential cache", () => {
  it("tells its principal and the end of the ticket-granting ticket, not of others", () => {
    expect(cacheFacts(cache, "cc")).toEqual({
      principal: "etl@A.TEST",
      startsAt: 1_000_000,
      endsAt: 2_000_000,
    });
  });

  it("without such a ticket has no end", () => {
    const empty = cache.subarray(0, 16 + principal("A.TEST", "etl").length);
    expect(cacheFacts(empty, "cc").endsAt).toBeUndefined();
  });
});

describe("a keytab", () => {
  it("tells whose keys it has, and skips what was removed", () => {
    expect(keytabPrincipals(keytab, "kt")).toEqual(new Set(["etl@A.TEST", "HTTP/nn1@A.TEST"]));
  });
});

it("both are read or refused, whatever the bytes", () => {
  void fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (tail, whole) => {
      for (const [read, magic] of [
        [cacheFacts, 0x0504],
        [keytabPrincipals, 0x0502],
      ] as const) {
        const bytes = whole ? tail : Buffer.concat([u16(magic), tail]);
        try {
          read(bytes, "f");
        } catch (error) {
          expect(error).toMatchObject({ code: "PROVIDER_INPUT_MISSING" });
        }
      }
    }),
  );
  for (const [read, file] of [
    [cacheFacts, cache],
    [keytabPrincipals, keytab],
  ] as const) {
    const tried = Array.from(
      { length: file.length },
      (_, end) => () => read(file.subarray(0, end), "f"),
    );
    for (const attempt of tried.slice(0, 20)) {
      try {
        attempt();
      } catch (error) {
        expect(error).toMatchObject({ code: "PROVIDER_INPUT_MISSING" });
      }
    }
  }
});

describe("a trace", () => {
  const line = (event: string): string => `[12] 1700000000.123456: ${event}\n`;
  const sent = line("Sending request (169 bytes) to A.TEST");
  const answered = line("Received answer (743 bytes) from stream 127.0.0.1:88");
  const error = (code: number): string =>
    line(`Received error from KDC: ${code - 1765328384}/words`);

  it.each([
    [
      "the KDC's last number counts",
      sent + answered + error(25) + error(24),
      "ISSUER_IDENTITY_REJECTED",
      24,
    ],
    ["clock skew", sent + answered + error(37), "ISSUER_IDENTITY_REJECTED", 37],
    ["unknown client", sent + answered + error(6), "ISSUER_REQUEST_INVALID", 6],
    ["an unlisted number is worth a retry", error(99), "ISSUER_UNAVAILABLE", 99],
    ["asked and not answered", sent, "ISSUER_UNAVAILABLE", undefined],
    ["answered, but our key does not fit", sent + answered, "ISSUER_IDENTITY_REJECTED", undefined],
    ["nobody asked: the ticket has ended", "", "ISSUER_IDENTITY_REJECTED", undefined],
  ] as const)("%s", (_what, trace, code, krb5Code) => {
    expect(judgeTrace(trace)).toEqual({ code, krb5Code });
    // Words play no part: a translated library says the same in other words.
    expect(judgeTrace(trace.replaceAll("words", "Wörter"))).toEqual({ code, krb5Code });
  });
});
