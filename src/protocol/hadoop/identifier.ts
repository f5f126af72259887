/**
 * What stands inside a token's identifier, for display and for planning renewals. Decoded by the
 * token's kind; a kind that is not known is opaque, never an error. The current expiry is *not* in
 * here: only a renewal returns it.
 */
import { bytesField, bytesFieldOf, intField, intFieldOf, readFields } from "./protobuf.ts";
import type { HadoopToken } from "./token.ts";
import { decodeText, malformed, WritableReader, WritableWriter } from "./writable.ts";

/** Kinds of token whose identifier can be read. Others pass through as bytes. */
const READABLE_KINDS: ReadonlySet<string> = new Set([
  "HDFS_DELEGATION_TOKEN",
  "WEBHDFS delegation",
  "SWEBHDFS delegation",
  "kms-dt",
  "HIVE_DELEGATION_TOKEN",
  "RM_DELEGATION_TOKEN",
  "TIMELINE_DELEGATION_TOKEN",
  "MR_DELEGATION_TOKEN",
]);

export interface TokenIdentifier {
  /** Whom the bearer acts as: a short name or a full principal. */
  readonly owner: string;
  /** The short name that may renew; empty: nobody. */
  readonly renewer: string;
  /** Who asked on the owner's behalf; empty when the owner asked. */
  readonly realUser: string;
  /** Milliseconds since 1970, by the issuer's clock. */
  readonly issueDate: bigint;
  /** No renewal goes beyond this instant, milliseconds since 1970. */
  readonly maxDate: bigint;
  readonly sequenceNumber: number;
  readonly masterKeyId: number;
}

/**
 * The identifier of a token of a known kind; undefined when the kind is unknown.
 * @throws MESSAGE_MALFORMED when the kind is known and the bytes are not such an identifier.
 */
export function identifierOf(token: HadoopToken): TokenIdentifier | undefined {
  return READABLE_KINDS.has(token.kind) ? decodeIdentifier(token.identifier) : undefined;
}

/**
 * Decodes either form: the `AbstractDelegationTokenIdentifier` (first byte 0x00) or YARN's protobuf
 * since 2.6 (first byte 0x0a). Subclasses append fields: what follows is tolerated.
 * @throws MESSAGE_MALFORMED
 */
export function decodeIdentifier(bytes: Uint8Array): TokenIdentifier {
  if (bytes[0] === 0x0a) return fromProtobuf(bytes);
  const reader = new WritableReader(bytes);
  if (reader.byte() !== 0) throw malformed("an identifier of an unknown version");
  return {
    owner: reader.text(),
    renewer: reader.text(),
    realUser: reader.text(),
    issueDate: reader.vlong(),
    maxDate: reader.vlong(),
    sequenceNumber: reader.vint(),
    masterKeyId: reader.vint(),
  };
}

/** The `AbstractDelegationTokenIdentifier` form. */
export function encodeIdentifier(identifier: TokenIdentifier): Uint8Array {
  return new WritableWriter()
    .byte(0)
    .text(identifier.owner)
    .text(identifier.renewer)
    .text(identifier.realUser)
    .vlong(identifier.issueDate)
    .vlong(identifier.maxDate)
    .vint(identifier.sequenceNumber)
    .vint(identifier.masterKeyId)
    .toBytes();
}

/** YARN's protobuf form. */
export function encodeYarnIdentifier(identifier: TokenIdentifier): Uint8Array {
  const encoder = new TextEncoder();
  return new Uint8Array(
    Buffer.concat([
      bytesFieldOf(1, encoder.encode(identifier.owner)),
      bytesFieldOf(2, encoder.encode(identifier.renewer)),
      bytesFieldOf(3, encoder.encode(identifier.realUser)),
      intFieldOf(4, identifier.issueDate),
      intFieldOf(5, identifier.maxDate),
      intFieldOf(6, BigInt(identifier.sequenceNumber)),
      intFieldOf(7, BigInt(identifier.masterKeyId)),
    ]),
  );
}

function fromProtobuf(bytes: Uint8Array): TokenIdentifier {
  const fields = readFields(bytes);
  const string = (number: number): string =>
    decodeText(bytesField(fields, number) ?? new Uint8Array());
  const int64 = (number: number): bigint => BigInt.asIntN(64, intField(fields, number) ?? 0n);
  const int32 = (number: number): number =>
    Number(BigInt.asIntN(32, intField(fields, number) ?? 0n));
  return {
    owner: string(1),
    renewer: string(2),
    realUser: string(3),
    issueDate: int64(4),
    maxDate: int64(5),
    sequenceNumber: int32(6),
    masterKeyId: int32(7),
  };
}
