/**
 * What a failed Kerberos exchange means, judged by libkrb5's numeric codes alone (RFC 4120, section
 * 7.5.9, offset by the library's base). The codes come from its trace file, since neither kinit's
 * exit status nor the GSSAPI binding passes them on; the words beside them are never looked at.
 */
import type { ErrorCode } from "../../../protocol/errors.ts";

/** libkrb5's ERROR_TABLE_BASE_krb5: a protocol error n shows as BASE + n. */
const BASE = -1765328384;

/** Steps of a normal exchange: preauthentication wanted, answer too big for UDP, no such ticket in the cache yet. */
const STEPS: ReadonlySet<number> = new Set([25, 52, 141]);

const CODE_OF: Readonly<Record<number, ErrorCode>> = {
  1: "ISSUER_DENIED", // client's entry has expired
  2: "ISSUER_REQUEST_INVALID", // server's entry has expired
  6: "ISSUER_REQUEST_INVALID", // client unknown
  7: "ISSUER_REQUEST_INVALID", // server unknown
  8: "ISSUER_REQUEST_INVALID", // principal not unique
  9: "ISSUER_DENIED", // null key
  12: "ISSUER_DENIED", // policy
  13: "ISSUER_REQUEST_INVALID", // bad option
  14: "ISSUER_REQUEST_INVALID", // encryption type not supported
  18: "ISSUER_DENIED", // client revoked or locked
  19: "ISSUER_DENIED", // server revoked
  21: "ISSUER_DENIED", // client not yet valid
  23: "ISSUER_DENIED", // password expired
  24: "ISSUER_IDENTITY_REJECTED", // preauthentication failed: wrong key
  29: "ISSUER_UNAVAILABLE", // service unavailable
  31: "ISSUER_IDENTITY_REJECTED", // integrity check failed: wrong key
  32: "ISSUER_IDENTITY_REJECTED", // ticket expired
  33: "ISSUER_IDENTITY_REJECTED", // ticket not yet valid
  37: "ISSUER_IDENTITY_REJECTED", // clock skew too great
  60: "ISSUER_UNAVAILABLE", // generic error
  68: "ISSUER_REQUEST_INVALID", // wrong realm
  154: "ISSUER_REQUEST_INVALID", // realm unknown to the configuration
  156: "ISSUER_UNAVAILABLE", // no KDC can be reached
  181: "PROVIDER_INPUT_MISSING", // no key in the keytab
  195: "ISSUER_IDENTITY_REJECTED", // no credential cache
};

export interface KerberosVerdict {
  readonly code: ErrorCode;
  /** The protocol error's number; undefined: none was seen. */
  readonly krb5Code: number | undefined;
}

/**
 * Judges a trace of an exchange that failed: by the last error number in it. Without one, a KDC that
 * was asked and has not answered is away; else what we have is no good: our key doesn't open the
 * answer, or the ticket has ended, which the library finds out without asking.
 */
export function judgeTrace(trace: string): KerberosVerdict {
  let last: number | undefined;
  for (const [, digits] of trace.matchAll(/(-1765328\d{3})\//g)) {
    const number = Number(digits) - BASE;
    if (number > 0 && number < 256 && !STEPS.has(number)) last = number;
  }
  if (last !== undefined) return { code: CODE_OF[last] ?? "ISSUER_UNAVAILABLE", krb5Code: last };
  const asked = /\] [\d.]+: Sending request \(/.test(trace);
  const answered = /\] [\d.]+: Received answer \(/.test(trace);
  const code = asked && !answered ? "ISSUER_UNAVAILABLE" : "ISSUER_IDENTITY_REJECTED";
  return { code, krb5Code: undefined };
}
