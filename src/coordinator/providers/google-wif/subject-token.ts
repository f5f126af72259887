/**
 * The subject token of one attempt: signed here, or from a file, a URL or a command. Owns that nothing
 * is cached, so that each attempt has a new one, and that no token goes into an error (I9).
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { SignJWT } from "jose";
import { EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import type { Clock, EpochMs } from "../../../protocol/time.ts";
import { runCommand } from "../exec/run-command.ts";
import type { JwtOptions, SubjectTokenOptions } from "./options.ts";
import { readSigningKey } from "./signing-key.ts";

/** Of a token, or of the JSON around it. */
const LONGEST = 64 * 1024;
const SHORTEST = 4;

export interface SubjectTokenContext {
  /** The configuration's folder, which relative paths are relative to. */
  readonly baseDir: string;
  readonly signal: AbortSignal;
  readonly freshIdentity: boolean;
  readonly clock: Clock;
  /** By the issuer's clock as far as it is known: what the assertion's times count from. */
  readonly now: EpochMs;
  /** A new identifier for `jti`. */
  readonly assertionId: string;
  /** The provider's full name. */
  readonly audience: string;
}

type Format = "text" | { readonly jsonField: string };

/**
 * @throws EvergrantError PROVIDER_INPUT_MISSING where there is none, ISSUER_UNAVAILABLE where its URL
 *   does not answer, ISSUER_TIMEOUT at the signal.
 */
export async function subjectToken(
  options: SubjectTokenOptions,
  context: SubjectTokenContext,
): Promise<Secret<string>> {
  if (context.signal.aborted) throw late("the subject token");
  if ("jwt" in options) return new Secret(await signedToken(options.jwt, context));
  if ("file" in options) {
    const file = resolve(context.baseDir, options.file);
    return tokenIn(await textOfFile(file, context.signal), options.format, `the file ${file}`);
  }
  if ("url" in options) {
    const { url, headers, format } = options;
    return tokenIn(await textOfUrl(url, headers, context.signal), format, new URL(url).host);
  }
  return tokenIn(await textOfCommand(options, context), options.format, "the command");
}

async function signedToken(options: JwtOptions, context: SubjectTokenContext): Promise<string> {
  const keyFile = resolve(context.baseDir, options.keyFile);
  const { key, algorithm, keyId } = await readSigningKey({ ...options, keyFile }, context.signal);
  const nowSec = Math.floor(context.now / 1000);
  return new SignJWT()
    .setProtectedHeader({ alg: algorithm, kid: keyId, typ: "JWT" })
    .setIssuer(options.issuer)
    .setSubject(options.subject)
    .setAudience(options.audience ?? `https:${context.audience}`)
    .setIssuedAt(nowSec - options.backdateSec)
    .setExpirationTime(nowSec + options.lifetimeSec)
    .setJti(context.assertionId)
    .sign(key);
}

async function textOfFile(path: string, signal: AbortSignal): Promise<string> {
  try {
    return await readFile(path, { encoding: "utf8", signal });
  } catch (thrown) {
    if (signal.aborted) throw late(`the subject token file ${path}`);
    const { code = "unknown" } = thrown as NodeJS.ErrnoException;
    throw missing(`the subject token file ${path} cannot be read (${code})`, {
      path,
      reason: code,
    });
  }
}

async function textOfUrl(
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string> {
  const { host } = new URL(url);
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(url, { headers, signal, redirect: "manual" });
    text = await answer.text();
  } catch {
    if (signal.aborted) throw late(`the subject token of ${host}`);
    const message = `the subject token's URL at ${host} does not answer`;
    throw new EvergrantError("ISSUER_UNAVAILABLE", message, { details: { endpoint: host } });
  }
  const { status } = answer;
  if (status === 200) return text;
  const details = { endpoint: host, httpStatus: status };
  const message = `the subject token's URL at ${host} answers with HTTP ${status}`;
  if (status >= 500) throw new EvergrantError("ISSUER_UNAVAILABLE", message, { details });
  if (status === 429) throw new EvergrantError("ISSUER_THROTTLED", message, { details });
  throw missing(message, details);
}

async function textOfCommand(
  options: Extract<SubjectTokenOptions, { readonly command: string[] }>,
  { signal, freshIdentity, clock, audience, baseDir }: SubjectTokenContext,
): Promise<string> {
  const [program = "", ...args] = options.command;
  const argv = [program.includes("/") ? resolve(baseDir, program) : program, ...args];
  const { passEnv } = options;
  const env = {
    ...options.env,
    GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE: audience,
    EVERGRANT_FRESH_IDENTITY: freshIdentity ? "1" : "0",
  };
  const command = { argv, env, passEnv, cwd: baseDir };
  const { exitCode, stdout, stderrBytes } = await runCommand(command, signal, clock);
  if (exitCode === 0) return stdout.reveal().toString("utf8");
  const details = { exitCode: exitCode ?? -1, stderrBytes };
  throw missing(`the subject token's command ended with ${exitCode ?? "a signal"}`, details);
}

function tokenIn(text: string, format: Format, where: string): Secret<string> {
  const token = format === "text" ? text.trim() : fieldOf(text, format.jsonField);
  if (
    token === undefined ||
    token.length < SHORTEST ||
    token.length > LONGEST ||
    /\s/.test(token)
  ) {
    const field = format === "text" ? "" : ` in the field ${format.jsonField}`;
    throw missing(`${where} holds no subject token${field}`, {});
  }
  return new Secret(token);
}

function fieldOf(text: string, field: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const found = typeof value === "object" && value !== null ? Object.entries(value) : [];
    const token: unknown = found.find(([name]) => name === field)?.[1];
    return typeof token === "string" ? token : undefined;
  } catch {
    return undefined;
  }
}

const late = (what: string): EvergrantError =>
  new EvergrantError("ISSUER_TIMEOUT", `${what} could not be had in time`);

const missing = (
  message: string,
  details: Readonly<Record<string, string | number>>,
): EvergrantError => new EvergrantError("PROVIDER_INPUT_MISSING", message, { details });
