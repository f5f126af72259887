/** The npm packages of the tree and the Node.js that it runs on, as the two lock files name them. */
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { output, run, SetupError, say } from "./children.mjs";

const QUIET = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];

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

/** What packages for one platform only are chosen by. */
export function platform() {
  const glibc = process.report.getReport().header.glibcVersionRuntime !== undefined;
  return { os: process.platform, cpu: process.arch, libc: glibc ? "glibc" : "musl" };
}

/**
 * The packages that the lock file wants on this platform, and that npm's own record of an installed
 * tree (node_modules/.package-lock.json, its last act) lacks or has in another version.
 */
export function missingPackages(lock, installed, here) {
  const wants = (entry) =>
    entry.optional !== true ||
    // What is made for this very platform must be there, although npm shrugs when it can't fetch it.
    // Of other optional ones nobody can tell: npm leaves out what only another platform's package needs.
    ((entry.os !== undefined || entry.cpu !== undefined) &&
      Object.entries(here).every(([key, mine]) => entry[key]?.includes(mine) !== false));
  return Object.entries(lock.packages)
    .filter(([path, entry]) => {
      const there = installed.packages[path];
      return path !== "" && (there === undefined ? wants(entry) : there.version !== entry.version);
    })
    .map(([path]) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length));
}

function missingIn(folder) {
  const json = (...path) => JSON.parse(readFileSync(join(folder, ...path), "utf8"));
  let installed = { packages: {} };
  try {
    installed = json("node_modules", ".package-lock.json");
  } catch {
    // Not installed, or not to the end.
  }
  return missingPackages(json("package-lock.json"), installed, platform());
}

/** `npm ci` in `folder`, unless it is installed as its lock file says. Throws when npm fails. */
export async function installPackages(root, folder, what, note) {
  if (missingIn(folder).length === 0) return;
  say(`${what}: npm ci`);
  const [command, ...args] = npmCommand();
  const done = await run(
    command,
    // Install scripts are not run: none of the packages needs one, but kerberos (see kerberos.mjs).
    [...args, "ci", "--ignore-scripts", "--include=dev", "--include=optional", ...QUIET],
    { cwd: folder, env: npmEnvironment(root), doing: what, onStart: note },
  );
  const missing = done ? missingIn(folder) : [];
  if (!done || missing.length > 0) {
    const which = missing.length > 0 ? ` (without ${missing.slice(0, 5).join(", ")})` : "";
    throw new SetupError(`npm ci did not succeed in ${folder}${which}; what npm said is above.`);
  }
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

/** npm's environment. Under `npm run` it names settings of the parent; a home may not be writable. */
export function npmEnvironment(root) {
  const env = { ...process.env };
  delete env["npm_config_local_prefix"];
  const cache = env["npm_config_cache"] || join(env["HOME"] || "/", ".npm");
  try {
    mkdirSync(cache, { recursive: true });
    accessSync(cache, constants.W_OK);
  } catch {
    // npm would say nothing and leave out every optional package.
    env["npm_config_cache"] = join(root, ".evergrant", "npm-cache");
  }
  return env;
}
