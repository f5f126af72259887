/** The npm packages of the tree and the Node.js that it runs on, as the two lock files name them. */
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { output, run, SetupError, say } from "./children.mjs";

/** What the sources need at least: type stripping without a flag. */
const OLDEST_NODE = [22, 18];

/** True for "22.18.0" and newer. */
export function isNewEnough(version) {
  const [major = 0, minor = 0] = version.replace(/^v/, "").split(".").map(Number);
  return major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
}

/** The Node.js that tools/node pins for this machine; it may not be there (yet). */
export function pinnedNode(root) {
  const name = `node-${process.platform}-${process.arch}`;
  return join(root, "tools", "node", "node_modules", name, "bin", "node");
}

/** Changes whenever something has to be installed again. */
export function stampKey(root) {
  const hash = createHash("sha256").update(`1 ${process.platform} ${process.arch}\n`);
  for (const file of ["package-lock.json", "tools/node/package-lock.json"]) {
    hash.update(readFileSync(join(root, file))).update("\n");
  }
  return hash.digest("hex");
}

/**
 * Whether what npm wrote about an installed tree (node_modules/.package-lock.json, its last act)
 * holds all that the lock file wants on this platform.
 */
export function installedMatches(
  lock,
  installed,
  platform = process.platform,
  arch = process.arch,
) {
  return Object.entries(lock.packages).every(([path, wanted]) => {
    if (path === "") return true;
    const there = installed.packages[path];
    if (there !== undefined) return there.version === wanted.version;
    // What is made for this very platform must be there. Of the other optional ones nobody can tell:
    // npm leaves out what only another platform's package needs.
    const isFor = (list, mine) => list?.includes(mine) === true;
    const mine = isFor(wanted.os, platform) && isFor(wanted.cpu, arch) && wanted.libc === undefined;
    return wanted.optional === true && !mine;
  });
}

/** Whether `folder` is installed as its lock file says. */
export function isInstalled(folder) {
  try {
    const json = (...path) => JSON.parse(readFileSync(join(folder, ...path), "utf8"));
    return installedMatches(json("package-lock.json"), json("node_modules", ".package-lock.json"));
  } catch {
    return false;
  }
}

/** `npm ci` in `folder`, unless it is installed already. Throws when npm fails. */
export async function installPackages(root, folder, what, note) {
  if (isInstalled(folder)) return;
  say(`${what}: npm ci`);
  const [command, ...args] = npmCommand();
  const done = await run(
    command,
    // Install scripts are not run: none of the packages needs one, but kerberos (see kerberos.mjs).
    [...args, "ci", "--ignore-scripts", "--include=dev", "--include=optional", "--loglevel=error"],
    { cwd: folder, env: npmEnvironment(root), doing: what, onStart: note },
  );
  if (!done) throw new SetupError(`npm ci failed in ${folder}; what npm said is above.`);
}

/** The Node.js to run everything with. Throws a sentence when there is none. */
export function chooseNode(root) {
  const pinned = pinnedNode(root);
  if (existsSync(pinned) && output(pinned, ["--version"]) !== undefined) return pinned;
  if (isNewEnough(process.versions.node)) return process.execPath;
  throw new SetupError(
    `Node.js ${OLDEST_NODE.join(".")} or newer is needed on ${process.platform} ${process.arch}, and this is ${process.versions.node}.`,
  );
}

/** The npm that runs us, else the one in PATH. */
export function npmCommand() {
  const running = process.env["npm_execpath"];
  return running?.endsWith("npm-cli.js") && existsSync(running)
    ? [process.execPath, running]
    : ["npm"];
}

/** Under `npm run` the parent's own settings are in the environment; a home may not be writable. */
export function npmEnvironment(root) {
  const env = { ...process.env };
  delete env["npm_config_local_prefix"];
  try {
    mkdirSync(join(env["HOME"] || "/nonexistent", ".npm"), { recursive: true });
    accessSync(join(env["HOME"] || "/nonexistent", ".npm"), constants.W_OK);
  } catch {
    env["npm_config_cache"] = env["npm_config_cache"] || join(root, ".evergrant", "npm-cache");
  }
  return env;
}
