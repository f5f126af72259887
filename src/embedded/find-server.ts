/**
 * Where the `nats-server` and `redis-server` of this machine are, and of which version.
 * Owns the order of the search, which setup.mjs follows too; refuses to install anything
 * (setup.mjs does that) and to start anything but `--version`.
 */
import { execFile } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EvergrantError } from "../protocol/errors.ts";

/** The servers that evergrant can start for itself. */
export type ServerName = "nats-server" | "redis-server";

/** A version as three numbers; missing parts are 0. */
export type ServerVersion = readonly [major: number, minor: number, patch: number];

/** A server program that was found and said its version. */
export interface FoundServer {
  readonly path: string;
  readonly version: ServerVersion;
}

/** Folders that a shell's PATH often lacks: Debian's sbin, and both homes of Homebrew. */
const USUAL_FOLDERS = [
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/sbin",
  "/usr/bin",
  "/opt/homebrew/bin",
  "/home/linuxbrew/.linuxbrew/bin",
];

/** What setup.mjs unpacked without root, beside `src` or `dist`. Absent in an installed package. */
const PRIVATE_FOLDER = fileURLToPath(new URL("../../.evergrant/servers/bin", import.meta.url));

/**
 * Folders to search, best first. `EVERGRANT_SERVERS=private` hides the machine's own servers,
 * so that the set-up without root can be tried anywhere.
 */
export function searchFolders(env: Readonly<Record<string, string | undefined>>): string[] {
  if (env["EVERGRANT_SERVERS"] === "private") return [PRIVATE_FOLDER];
  const path = (env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return [...new Set([...path, ...USUAL_FOLDERS, PRIVATE_FOLDER])];
}

/**
 * The first executable `name` in the usual places that tells its version.
 *
 * @throws EvergrantError `SERVER_START_FAILED` if there is none, or it does not run.
 */
export async function findServer(
  name: ServerName,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<FoundServer> {
  const path = pathOf(name, env);
  if (path === undefined) throw notInstalled([name]);
  const said = await output(path, ["--version"]);
  const version = said === undefined ? undefined : parseVersion(said);
  if (version === undefined) {
    throw new EvergrantError("SERVER_START_FAILED", `${path} does not tell its version`, {
      details: { server: name },
    });
  }
  return { path, version };
}

/**
 * Says at once all that is to be installed, rather than one server at each start.
 *
 * @throws EvergrantError `SERVER_START_FAILED` that names every one of these that is in none of the usual places.
 */
export function requireServers(
  names: readonly ServerName[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): void {
  const missing = names.filter((name) => pathOf(name, env) === undefined);
  if (missing.length > 0) throw notInstalled(missing);
}

function pathOf(
  name: ServerName,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  return searchFolders(env)
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

function notInstalled(names: readonly ServerName[]): EvergrantError {
  const what =
    names.length > 1
      ? "are not installed: install your system's packages of these names, or name servers in the configuration"
      : "is not installed: install your system's package of that name, or name a server in the configuration";
  return new EvergrantError("SERVER_START_FAILED", `${names.join(" and ")} ${what}`, {
    details: { server: names.join(", ") },
  });
}

/** The first `1.2.3` in what a server says about itself; undefined when there is none. */
export function parseVersion(said: string): ServerVersion | undefined {
  const match = /v=?(\d+)\.(\d+)(?:\.(\d+))?/.exec(said);
  return match === null ? undefined : [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
}

/** True when `version` is `major.minor` or newer. */
export function atLeast(version: ServerVersion, major: number, minor: number): boolean {
  return version[0] > major || (version[0] === major && version[1] >= minor);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function output(path: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(path, args, { timeout: 10_000 }, (error, stdout, stderr) =>
      resolve(error === null ? `${stdout}${stderr}` : undefined),
    );
  });
}
