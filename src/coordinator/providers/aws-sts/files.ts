/** Files that an attempt reads anew each time: the OIDC token and the session policy. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { EvergrantError } from "../../../protocol/errors.ts";
import { Secret } from "../../../protocol/secret.ts";
import { type AwsStsOptions, policyText } from "./options.ts";

/** What STS takes as WebIdentityToken. */
const TOKEN_LENGTH = { min: 4, max: 20_000 } as const;

/** The options with every path in them absolute. */
export function pathsFrom(baseDir: string, options: AwsStsOptions): AwsStsOptions {
  const at = <Key extends string>(key: Key, path: string | undefined) =>
    (path === undefined ? {} : { [key]: resolve(baseDir, path) }) as { [K in Key]?: string };
  if (options.action === "AssumeRoleWithWebIdentity") {
    const { webIdentityTokenFile: file } = options;
    return {
      ...options,
      webIdentityTokenFile: resolve(baseDir, file),
      ...at("policyFile", options.policyFile),
    };
  }
  const { base } = options;
  if (base === undefined) {
    return options.action === "AssumeRole"
      ? { ...options, ...at("policyFile", options.policyFile) }
      : options;
  }
  const found =
    "webIdentity" in base
      ? {
          webIdentity: {
            ...base.webIdentity,
            tokenFile: resolve(baseDir, base.webIdentity.tokenFile),
          },
        }
      : {
          ...base,
          ...at("credentialsFile", base.credentialsFile),
          ...at("configFile", base.configFile),
        };
  return options.action === "AssumeRole"
    ? { ...options, base: found, ...at("policyFile", options.policyFile) }
    : { ...options, base: found };
}

async function read(path: string, what: string, signal: AbortSignal): Promise<string> {
  try {
    return (await readFile(path, { encoding: "utf8", signal })).trim();
  } catch (thrown) {
    if (signal.aborted)
      throw new EvergrantError("ISSUER_TIMEOUT", `${what} could not be read in time`);
    const { code = "unknown" } = thrown as NodeJS.ErrnoException;
    const details = { path, reason: code };
    const message = `${what} ${path} cannot be read (${code})`;
    throw new EvergrantError("PROVIDER_INPUT_MISSING", message, { details });
  }
}

/** @throws EvergrantError PROVIDER_INPUT_MISSING where there is no file with a token. */
export async function readTokenFile(path: string, signal: AbortSignal): Promise<Secret<string>> {
  const token = await read(path, "the web identity token file", signal);
  if (token.length < TOKEN_LENGTH.min || token.length > TOKEN_LENGTH.max || /\s/.test(token)) {
    const message = `the web identity token file ${path} holds no token of ${TOKEN_LENGTH.min} to ${TOKEN_LENGTH.max} characters`;
    throw new EvergrantError("PROVIDER_INPUT_MISSING", message, { details: { path } });
  }
  return new Secret(token);
}

/** The policy as compact JSON. @throws EvergrantError PROVIDER_INPUT_MISSING or CONFIG_INVALID */
export async function readPolicyFile(path: string, signal: AbortSignal): Promise<string> {
  const text = await read(path, "the session policy file", signal);
  try {
    return policyText(text);
  } catch {
    const message = `the session policy file ${path} is no JSON policy document`;
    throw new EvergrantError("CONFIG_INVALID", message, { details: { path } });
  }
}
