/**
 * Hadoop's token storage file ("HDTS"), what `HADOOP_TOKEN_FILE_LOCATION` points to. Reads versions
 * 0 (Writable) and 1 (protobuf); writes 0 unless asked for 1, since every Hadoop reads 0. Owns the
 * container; the tokens in it are opaque here, so that no foreign kind can make a file unreadable.
 */
import { Secret } from "../secret.ts";
import { bytesField, bytesFieldOf, readDelimited, readFields, varint } from "./protobuf.ts";
import { type HadoopToken, readToken, writeToken } from "./token.ts";
import { decodeText, malformed, WritableReader, WritableWriter } from "./writable.ts";

const MAGIC = Uint8Array.of(0x48, 0x44, 0x54, 0x53);
/** The least that a token entry takes: five empty fields of one length byte each. */
const LEAST_TOKEN_BYTES = 5;
/** The least that a secret entry takes. */
const LEAST_SECRET_BYTES = 2;

/** The content of one file. Aliases are unique; their order carries no meaning and is kept. */
export interface TokenStorage {
  readonly tokens: ReadonlyMap<string, HadoopToken>;
  readonly secrets: ReadonlyMap<string, Secret<Uint8Array>>;
}

export const EMPTY_STORAGE: TokenStorage = { tokens: new Map(), secrets: new Map() };

/**
 * Reads a whole file. A doubled alias counts as in Hadoop: the last one wins.
 * @throws MESSAGE_MALFORMED at a wrong magic, an unknown version, an end that comes too early, or
 * bytes left over (they would be lost when the file is written again).
 */
export function readTokenStorage(file: Uint8Array): TokenStorage {
  const reader = new WritableReader(file);
  for (const expected of MAGIC) {
    if (reader.byte() !== expected) throw malformed("no Hadoop token file (wrong magic)");
  }
  const version = reader.byte();
  if (version !== 0 && version !== 1) {
    throw malformed(`a Hadoop token file of version ${version}; 0 and 1 are known`);
  }
  const storage = version === 0 ? readWritable(reader) : readProtobuf(reader);
  if (reader.remaining > 0) throw malformed("a Hadoop token file with bytes left over");
  return storage;
}

/** The bytes of a file. @param version 0, or 1 for readers since Hadoop 3.0. */
export function writeTokenStorage(storage: TokenStorage, version: 0 | 1 = 0): Uint8Array {
  const writer = new WritableWriter().raw(MAGIC).byte(version);
  if (version === 0) writeWritable(writer, storage);
  else writeProtobuf(writer, storage);
  return writer.toBytes();
}

function readWritable(reader: WritableReader): TokenStorage {
  const tokens = new Map<string, HadoopToken>();
  const secrets = new Map<string, Secret<Uint8Array>>();
  for (let left = count(reader, LEAST_TOKEN_BYTES); left > 0; left -= 1) {
    const alias = reader.text();
    tokens.set(alias, readToken(reader));
  }
  for (let left = count(reader, LEAST_SECRET_BYTES); left > 0; left -= 1) {
    const alias = reader.text();
    secrets.set(alias, new Secret(reader.bytes()));
  }
  return { tokens, secrets };
}

function count(reader: WritableReader, leastBytes: number): number {
  const entries = reader.vint();
  if (entries < 0 || entries * leastBytes > reader.remaining) {
    throw malformed("ends before its content does");
  }
  return entries;
}

function writeWritable(writer: WritableWriter, { tokens, secrets }: TokenStorage): void {
  writer.vint(tokens.size);
  for (const [alias, token] of tokens) {
    writer.text(alias);
    writeToken(writer, token);
  }
  writer.vint(secrets.size);
  for (const [alias, secret] of secrets) writer.text(alias).bytes(secret.reveal());
}

function readProtobuf(reader: WritableReader): TokenStorage {
  const tokens = new Map<string, HadoopToken>();
  const secrets = new Map<string, Secret<Uint8Array>>();
  for (const { number, value } of readFields(readDelimited(reader))) {
    if (number !== 1 && number !== 2) continue;
    if (typeof value === "bigint") throw malformed("a number where an entry belongs");
    const entry = readFields(value);
    const alias = decodeText(required(bytesField(entry, 1), "alias"));
    if (number === 1) {
      tokens.set(alias, tokenFromProto(required(bytesField(entry, 2), "token")));
    } else {
      secrets.set(alias, new Secret(required(bytesField(entry, 3), "secret")));
    }
  }
  return { tokens, secrets };
}

function tokenFromProto(message: Uint8Array): HadoopToken {
  const fields = readFields(message);
  return {
    identifier: required(bytesField(fields, 1), "identifier"),
    password: new Secret(required(bytesField(fields, 2), "password")),
    kind: decodeText(required(bytesField(fields, 3), "kind")),
    service: decodeText(required(bytesField(fields, 4), "service")),
  };
}

function required(value: Uint8Array | undefined, what: string): Uint8Array {
  if (value === undefined) throw malformed(`an entry without its ${what}`);
  return value;
}

function writeProtobuf(writer: WritableWriter, { tokens, secrets }: TokenStorage): void {
  const encoder = new TextEncoder();
  const parts: Uint8Array[] = [];
  const entry = (field: 1 | 2, alias: string, inner: Uint8Array): void => {
    const message = Buffer.concat([bytesFieldOf(1, encoder.encode(alias)), inner]);
    parts.push(bytesFieldOf(field, message));
  };
  for (const [alias, token] of tokens) {
    const message = Buffer.concat([
      bytesFieldOf(1, token.identifier),
      bytesFieldOf(2, token.password.reveal()),
      bytesFieldOf(3, encoder.encode(token.kind)),
      bytesFieldOf(4, encoder.encode(token.service)),
    ]);
    entry(1, alias, bytesFieldOf(2, message));
  }
  for (const [alias, secret] of secrets) entry(2, alias, bytesFieldOf(3, secret.reveal()));
  const message = new Uint8Array(Buffer.concat(parts));
  writer.raw(varint(BigInt(message.length))).raw(message);
}
