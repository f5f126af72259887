/** Bytes, text and JSON. Owns no meaning. */
import * as z from "zod";
import { EvergrantError } from "./errors.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export const utf8 = (text: string): Uint8Array => encoder.encode(text);

/** @throws MESSAGE_MALFORMED when the bytes are no UTF-8. */
export function text(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new EvergrantError("MESSAGE_MALFORMED", "not UTF-8", { cause });
  }
}

export const toBase64Url = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");
export const fromBase64Url = (value: string): Uint8Array =>
  new Uint8Array(Buffer.from(value, "base64url"));

/**
 * Parses JSON and checks it. The error names the paths at fault but never the values there.
 * @throws MESSAGE_MALFORMED
 */
export function parseJson<T>(schema: z.ZodType<T>, json: string, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    // The parser's own message quotes the input, which may be secret: drop it.
    throw new EvergrantError("MESSAGE_MALFORMED", `${what} is not JSON`);
  }
  return check(schema, value, what);
}

/** @throws MESSAGE_MALFORMED naming the paths at fault. */
export function check<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const paths = parsed.error.issues.map((issue) => issue.path.join(".") || "(root)");
  throw new EvergrantError("MESSAGE_MALFORMED", `${what} is malformed at ${paths.join(", ")}`);
}

/** A 256-bit key in base64url. */
export const key256Schema = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "expected 32 bytes, base64url");
