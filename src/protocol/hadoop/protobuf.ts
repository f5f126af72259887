/**
 * The little of protobuf's wire format that Hadoop's token messages need: varints and
 * length-delimited fields; other fields are skipped. Owns the wire, not the messages.
 */
import { malformed, WritableReader } from "./writable.ts";

/** One field: a varint (wire type 0) or bytes (wire type 2). */
export interface ProtoField {
  readonly number: number;
  readonly value: bigint | Uint8Array;
}

/** A base-128 varint of up to ten bytes, as an unsigned 64-bit number. @throws MESSAGE_MALFORMED */
export function readVarint(reader: WritableReader): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = reader.byte();
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return BigInt.asUintN(64, value);
  }
  throw malformed("a varint of more than ten bytes");
}

/** Every varint and bytes field of one message, in order. @throws MESSAGE_MALFORMED */
export function readFields(message: Uint8Array): ProtoField[] {
  const reader = new WritableReader(message);
  const fields: ProtoField[] = [];
  while (reader.remaining > 0) {
    const key = readVarint(reader);
    const number = Number(key >> 3n);
    if (number < 1 || number > 2 ** 29 - 1) throw malformed("a field number out of range");
    const wireType = Number(key & 7n);
    if (wireType === 0) fields.push({ number, value: readVarint(reader) });
    else if (wireType === 2) fields.push({ number, value: readDelimited(reader) });
    else if (wireType === 1) reader.take(8);
    else if (wireType === 5) reader.take(4);
    else throw malformed("a protobuf group");
  }
  return fields;
}

/** A varint length and as many bytes. @throws MESSAGE_MALFORMED */
export function readDelimited(reader: WritableReader): Uint8Array {
  const length = readVarint(reader);
  if (length > BigInt(reader.remaining)) throw malformed("ends before its content does");
  return reader.take(Number(length));
}

/** The last value of a bytes field, which is the one that counts; undefined when it is absent. */
export function bytesField(fields: readonly ProtoField[], number: number): Uint8Array | undefined {
  const value = fields.findLast((field) => field.number === number)?.value;
  if (typeof value === "bigint") throw malformed("a number where bytes belong");
  return value;
}

/** The last value of an integer field; undefined when it is absent. */
export function intField(fields: readonly ProtoField[], number: number): bigint | undefined {
  const value = fields.findLast((field) => field.number === number)?.value;
  if (value instanceof Uint8Array) throw malformed("bytes where a number belongs");
  return value;
}

/** The shortest form of an unsigned 64-bit number; negative numbers are taken as two's complement. */
export function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

/** One length-delimited field. */
export function bytesFieldOf(number: number, value: Uint8Array): Uint8Array {
  return new Uint8Array(
    Buffer.concat([varint(BigInt(number * 8 + 2)), varint(BigInt(value.length)), value]),
  );
}

/** One varint field. */
export function intFieldOf(number: number, value: bigint): Uint8Array {
  return new Uint8Array(Buffer.concat([varint(BigInt(number * 8)), varint(value)]));
}
