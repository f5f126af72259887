/**
 * Hadoop's `Writable` primitives: VLong, VInt, bytes and Text. Owns the byte layout and the bounds
 * checks; refuses to know what is written with them. Nothing is allocated on the word of a length
 * field: a length beyond the remaining bytes is an error first.
 */
import { EvergrantError } from "../errors.ts";

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();

const INT32_MIN = -(2n ** 31n);
const INT32_MAX = 2n ** 31n - 1n;

/** What every reader in this folder throws: the input is not what it claims to be. */
export function malformed(what: string): EvergrantError {
  return new EvergrantError("MESSAGE_MALFORMED", what);
}

/** Strict UTF-8. @throws MESSAGE_MALFORMED */
export function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformed("text that is not UTF-8");
  }
}

/** Reads forward through a byte array. Every method throws MESSAGE_MALFORMED at a short or wrong input. */
export class WritableReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bytes not yet read. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** The next `length` bytes, copied. */
  take(length: number): Uint8Array {
    if (length < 0 || length > this.remaining) throw malformed("ends before its content does");
    // Not `slice`, which on a Buffer shares memory with the input.
    const taken = new Uint8Array(this.#bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return taken;
  }

  /** One byte, 0..255. */
  byte(): number {
    const value = this.#bytes[this.#at];
    if (value === undefined) throw malformed("ends before its content does");
    this.#at += 1;
    return value;
  }

  /** A signed 64-bit number. Overflow wraps as it does in Java. */
  vlong(): bigint {
    const first = (this.byte() << 24) >> 24;
    if (first >= -112) return BigInt(first);
    const negative = first < -120;
    const length = negative ? -120 - first : -112 - first;
    let value = 0n;
    for (const byte of this.take(length)) value = (value << 8n) | BigInt(byte);
    return BigInt.asIntN(64, negative ? ~value : value);
  }

  /** A signed 32-bit number. */
  vint(): number {
    const value = this.vlong();
    if (value < INT32_MIN || value > INT32_MAX) throw malformed("a VInt beyond 32 bits");
    return Number(value);
  }

  /** VInt length, then as many bytes. */
  bytes(): Uint8Array {
    return this.take(this.vint());
  }

  /** VInt length, then UTF-8. */
  text(): string {
    return decodeText(this.bytes());
  }
}

/** Appends to a growing byte array. */
export class WritableWriter {
  readonly #parts: Uint8Array[] = [];

  raw(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }

  byte(value: number): this {
    return this.raw(Uint8Array.of(value));
  }

  /** In the shortest form, as Hadoop writes it. @throws RangeError beyond 64 bits: a caller's mistake. */
  vlong(value: bigint): this {
    if (BigInt.asIntN(64, value) !== value) throw new RangeError("beyond 64 bits");
    if (value >= -112n && value <= 127n) return this.byte(Number(BigInt.asUintN(8, value)));
    const negative = value < 0n;
    let magnitude = negative ? ~value : value;
    const reversed: number[] = [];
    for (; magnitude > 0n; magnitude >>= 8n) reversed.push(Number(magnitude & 0xffn));
    const first = (negative ? -120 : -112) - reversed.length;
    return this.raw(Uint8Array.of(first & 0xff, ...reversed.reverse()));
  }

  /** @throws RangeError beyond 32 bits: a caller's mistake. */
  vint(value: number): this {
    if (value !== (value | 0)) throw new RangeError("beyond 32 bits");
    return this.vlong(BigInt(value));
  }

  bytes(value: Uint8Array): this {
    return this.vint(value.length).raw(value);
  }

  text(value: string): this {
    return this.bytes(encoder.encode(value));
  }

  toBytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts));
  }
}
