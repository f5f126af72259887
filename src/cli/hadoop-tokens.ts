/** `evergrant hadoop-tokens`: what is in a Hadoop token file, without the passwords. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { EvergrantError, EXIT } from "../protocol/errors.ts";
import { identifierOf, type TokenIdentifier } from "../protocol/hadoop/identifier.ts";
import type { HadoopToken } from "../protocol/hadoop/token.ts";
import { readTokenStorage, type TokenStorage } from "../protocol/hadoop/token-storage.ts";
import { epochMs, toRfc3339 } from "../protocol/time.ts";
import { type CliIo, say, sayJson } from "./io.ts";
import type { Finish } from "./program.ts";
import { table } from "./table.ts";

/** One token as it is shown. Absent fields: the kind is not known, or the identifier can't be read. */
interface ShownToken {
  readonly alias: string;
  readonly kind: string;
  readonly service: string;
  readonly owner?: string;
  readonly renewer?: string;
  readonly realUser?: string;
  readonly issuedAt?: string;
  /** The end of the maximum lifetime; the token may end before, unless it is renewed. */
  readonly maxDate?: string;
  readonly sequenceNumber?: number;
}

/** Years beyond four digits are no dates that a table can show. */
const LAST_DATE = 253_402_300_799_999n;

export function registerHadoopTokens(program: Command, io: CliIo, finish: Finish): void {
  program
    .command("hadoop-tokens")
    .description("show a Hadoop token file: owners, renewers, dates, services; never a password")
    .argument("[file]", "the file; absent: $HADOOP_TOKEN_FILE_LOCATION")
    .option("--json", "print JSON for other programs")
    .action(async (file: string | undefined, options: { readonly json?: boolean }) => {
      const storage = await read(io, file ?? io.env["HADOOP_TOKEN_FILE_LOCATION"]);
      const tokens = [...storage.tokens].map(([alias, token]) => shown(alias, token));
      const secrets = [...storage.secrets.keys()];
      if (options.json === true) sayJson(io, { tokens, secrets });
      else show(io, tokens, secrets);
      finish(EXIT.done);
    });
}

async function read(io: CliIo, file: string | undefined): Promise<TokenStorage> {
  if (file === undefined) {
    throw new EvergrantError("CONFIG_INVALID", "no file: name one or set the variable");
  }
  const path = resolve(io.workingDir, file);
  const bytes = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    throw new EvergrantError("FILE_UNUSABLE", `${path} can't be read (${cause.code})`, { cause });
  });
  try {
    return readTokenStorage(bytes);
  } catch (cause) {
    const what = cause instanceof EvergrantError ? cause.message : "it can't be read";
    throw new EvergrantError("FILE_UNUSABLE", `${path} is no token file: ${what}`, { cause });
  }
}

function shown(alias: string, token: HadoopToken): ShownToken {
  const { kind, service } = token;
  let identifier: TokenIdentifier | undefined;
  try {
    identifier = identifierOf(token);
  } catch {
    identifier = undefined; // one odd token must not hide the others
  }
  if (identifier === undefined) return { alias, kind, service };
  const { owner, renewer, realUser, sequenceNumber } = identifier;
  return {
    alias,
    kind,
    service,
    owner,
    renewer,
    realUser,
    issuedAt: date(identifier.issueDate),
    maxDate: date(identifier.maxDate),
    sequenceNumber,
  };
}

const date = (ms: bigint): string =>
  ms < 0n || ms > LAST_DATE ? String(ms) : toRfc3339(epochMs(Number(ms)));

function show(io: CliIo, tokens: readonly ShownToken[], secrets: readonly string[]): void {
  const rows = tokens.map((token) => [
    token.alias,
    token.kind,
    token.service === token.alias ? "=" : token.service,
    ownerOf(token),
    token.renewer ?? "-",
    token.issuedAt ?? "-",
    token.maxDate ?? "-",
  ]);
  const head = ["ALIAS", "KIND", "SERVICE", "OWNER", "RENEWER", "ISSUED", "MAX DATE"];
  io.stdout(
    table(
      head,
      rows.map((row) => row.map(printable)),
    ),
  );
  for (const alias of secrets) say(io, `secret ${printable(alias)}`);
}

function ownerOf({ owner, realUser }: ShownToken): string {
  if (owner === undefined) return "-";
  return realUser ? `${owner} (by ${realUser})` : owner;
}

/** A file from elsewhere must not move the terminal's cursor. */
const printable = (text: string): string => text.replaceAll(/\p{Cc}/gu, "?");
