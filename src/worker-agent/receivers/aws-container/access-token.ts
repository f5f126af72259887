/**
 * The authorization token of the container endpoint: how it is made, kept over restarts, and
 * compared. Owns the file and the rule that it holds no line end: botocore refuses one (delivery.md,
 * section 2.1).
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import type { Random } from "../../../protocol/time.ts";
import { writeAtomically } from "../../../runtime/atomic-file.ts";
import type { Refusal } from "../http-answers.ts";

/** Also fits tokens that an operator has put into the file; ours are 43 characters of base64url. */
const SHAPE = /^[A-Za-z0-9._~+/=-]{16,1024}$/;

export interface TokenFile {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * The token in the file, or a new one; in either case the file then holds it without a line end and
 * with the mode that is wanted.
 *
 * @throws EvergrantError `RECEIVER_FAILED` when the file cannot be read or written, or holds what is no token.
 */
export async function keepToken(file: TokenFile, random: Random): Promise<Secret<string>> {
  const kept = (await readIfThere(file.path))?.trim();
  if (kept !== undefined && kept !== "" && !SHAPE.test(kept)) {
    throw new EvergrantError(
      "RECEIVER_FAILED",
      `${file.path} holds no usable token (16 to 1024 characters of A-Z a-z 0-9 . _ ~ + / = -): remove it`,
    );
  }
  const token = kept === undefined || kept === "" ? newToken(random) : kept;
  await writeAtomically({ ...file, content: Buffer.from(token), random });
  return new Secret(token);
}

export const newToken = (random: Random): string =>
  Buffer.from(random.bytes(32)).toString("base64url");

const MISSING: Refusal = {
  outcome: "unauthorized",
  status: 401,
  code: "MissingAuthorization",
  message: "The Authorization header is missing: it must be the agent's token.",
};
const WRONG: Refusal = {
  outcome: "unauthorized",
  status: 401,
  code: "WrongAuthorization",
  message: "The Authorization header is not this agent's token.",
};
const MALFORMED: Refusal = {
  outcome: "malformed",
  status: 400,
  code: "MalformedAuthorization",
  message:
    "The Authorization header must be the agent's token alone: no scheme, no line end, once.",
};

/** Judges a request's token in constant time; undefined when it is right. */
export function tokenJudge(token: Secret<string>): (r: IncomingMessage) => Refusal | undefined {
  const expected = digest(token.reveal());
  return (request) => {
    const given = request.headersDistinct["authorization"];
    const value = given?.[0];
    if (value === undefined || value === "") return MISSING;
    if (given?.length !== 1 || !SHAPE.test(value)) return MALFORMED;
    return timingSafeEqual(digest(value), expected) ? undefined : WRONG;
  };
}

/** Of one length whatever goes in, which is what makes the comparison constant in time. */
const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown";
    if (code === "ENOENT") return undefined;
    throw new EvergrantError("RECEIVER_FAILED", `${path} cannot be read (${code})`);
  }
}
