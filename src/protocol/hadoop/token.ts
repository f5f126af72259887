/**
 * A Hadoop delegation token (`Token.write`) and its url string. Owns the four fields and their two
 * outer forms; what is inside `identifier` is in identifier.ts. Kind and service are labels that
 * nobody signs: relabelling makes the same token fit another client.
 */
import { Secret } from "../secret.ts";
import { malformed, WritableReader, WritableWriter } from "./writable.ts";

/** One token. The identifier is readable by anyone who holds the token; the password is the secret. */
export interface HadoopToken {
  readonly identifier: Uint8Array;
  readonly password: Secret<Uint8Array>;
  /** E.g. `HDFS_DELEGATION_TOKEN`. */
  readonly kind: string;
  /** Whom it is for, in the consumer's words, e.g. `ha-hdfs:nameservice1`. May be empty (Hive, YARN). */
  readonly service: string;
}

/** Reads one token. @throws MESSAGE_MALFORMED */
export function readToken(reader: WritableReader): HadoopToken {
  return {
    identifier: reader.bytes(),
    password: new Secret(reader.bytes()),
    kind: reader.text(),
    service: reader.text(),
  };
}

/** Appends one token, password included. */
export function writeToken(writer: WritableWriter, token: HadoopToken): void {
  writer
    .bytes(token.identifier)
    .bytes(token.password.reveal())
    .text(token.kind)
    .text(token.service);
}

/** URL-safe base64 without padding: the form that Hadoop's REST interfaces take. Holds the password. */
export function tokenToUrlString(token: HadoopToken): string {
  const writer = new WritableWriter();
  writeToken(writer, token);
  return Buffer.from(writer.toBytes()).toString("base64url");
}

/**
 * Reads a url string in either base64 alphabet, padded or not.
 * @throws MESSAGE_MALFORMED also when bytes are left over.
 */
export function tokenFromUrlString(urlString: string): HadoopToken {
  if (!/^[A-Za-z0-9_+/-]+={0,2}$/.test(urlString)) throw malformed("a token that is not base64");
  const reader = new WritableReader(new Uint8Array(Buffer.from(urlString, "base64url")));
  const token = readToken(reader);
  if (reader.remaining > 0) throw malformed("a token with bytes left over");
  return token;
}

/** The same token under other labels. */
export function relabel(
  token: HadoopToken,
  labels: { readonly kind?: string | undefined; readonly service?: string | undefined },
): HadoopToken {
  return {
    ...token,
    kind: labels.kind ?? token.kind,
    service: labels.service ?? token.service,
  };
}

/** Whether both came from one grant: labels apart, the issuer's secret manager can't tell them apart. */
export function sameGrant(a: HadoopToken, b: HadoopToken): boolean {
  return (
    Buffer.from(a.identifier).equals(b.identifier) &&
    Buffer.from(a.password.reveal()).equals(b.password.reveal())
  );
}
