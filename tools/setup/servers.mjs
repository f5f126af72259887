/**
 * nats-server and redis-server: found where src/embedded/find-server.ts looks for them too, else
 * unpacked from the distribution's packages into .evergrant/servers, without root and without service
 * units, or installed by Homebrew.
 */
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { output, run, SetupError, say } from "./children.mjs";

/** Program, its Debian packages, and its Homebrew formula. */
const SERVERS = {
  "nats-server": { packages: ["nats-server"], formula: "nats-server" },
  // Debian's redis-server is a link to a program in redis-tools.
  "redis-server": { packages: ["redis-server", "redis-tools"], formula: "redis" },
};

const USUAL_FOLDERS = [
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/sbin",
  "/usr/bin",
  "/opt/homebrew/bin",
  "/home/linuxbrew/.linuxbrew/bin",
];

/** Package lists of our own; there only while servers are being installed. */
const OWN_LISTS = join(".evergrant", "servers", ".apt");

/** Names of the servers that are nowhere to be found. EVERGRANT_SERVERS=private hides the machine's own. */
export function missingServers(root, env = process.env) {
  const own = join(root, ".evergrant", "servers", "bin");
  const path = (env["PATH"] || "").split(delimiter).filter((folder) => folder !== "");
  const folders = env["EVERGRANT_SERVERS"] === "private" ? [own] : [...path, ...USUAL_FOLDERS, own];
  return Object.keys(SERVERS).filter(
    (name) => !folders.some((folder) => isExecutable(join(folder, name))),
  );
}

/** Installs the missing ones. Throws a sentence that says what to do by hand. */
export async function installServers(root, note) {
  const missing = missingServers(root);
  if (missing.length === 0) return;
  if (output("apt-get", ["--version"]) && output("dpkg-deb", ["--version"])) {
    const lists = join(root, OWN_LISTS);
    rmSync(lists, { recursive: true, force: true });
    for (const name of missing) await unpack(root, name, note);
    rmSync(lists, { recursive: true, force: true });
  } else if (output("brew", ["--version"])) {
    const formulae = missing.map((name) => SERVERS[name].formula);
    say(`brew install ${formulae.join(" ")}`);
    await run("brew", ["install", ...formulae], { doing: "brew install", onStart: note });
  }
  const still = missingServers(root);
  if (still.length > 0) {
    throw new SetupError(
      `${still.join(" and ")} could not be installed here: install ${still.length > 1 ? "them" : "it"} by hand (any version of the last years will do) and run this again.`,
    );
  }
}

async function unpack(root, name, note) {
  const base = join(root, ".evergrant", "servers");
  const home = join(base, name);
  const debs = join(base, ".download");
  for (const folder of [home, debs]) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
  }
  say(`${name}: unpacking the distribution's package into .evergrant/servers`);
  const { packages } = SERVERS[name];
  if (!(await download(root, packages, debs, note))) return;
  await extract(debs, home, note);
  const program = ["usr/sbin", "usr/bin"]
    .map((folder) => join(home, folder, name))
    .find(isExecutable);
  if (program === undefined) return;
  if (!(await addLibraries(root, program, { home, debs, note }))) return;
  rmSync(debs, { recursive: true, force: true });
  writeStarter(base, name, program);
}

/** Into `folder`, by the system's package lists, or by lists of our own when those are missing or stale. */
export async function download(root, packages, folder, note) {
  const apt = (args, options) =>
    run("apt-get", ["-q", "-o", "Acquire::Retries=2", ...args], {
      cwd: folder,
      doing: "apt-get",
      onStart: note,
      ...options,
    });
  const base = join(root, OWN_LISTS);
  const fresh = existsSync(base);
  if (!fresh && (await apt(["download", ...packages], { quiet: true }))) return true;
  const own = privateAptOptions(base);
  if (!fresh) {
    say("fetching fresh package lists into .evergrant/servers");
    if (!(await apt([...own, "update"], { quiet: true }))) return false;
  }
  return apt([...own, "download", ...packages]);
}

function privateAptOptions(base) {
  for (const folder of ["state/lists/partial", "cache/archives/partial"]) {
    mkdirSync(join(base, folder), { recursive: true });
  }
  const settings = [
    `Dir::State=${join(base, "state")}`,
    `Dir::State::lists=${join(base, "state/lists")}`,
    "Dir::State::status=/var/lib/dpkg/status",
    `Dir::Cache=${join(base, "cache")}`,
    // Root's apt would download as user _apt, who cannot write into our folder.
    ...(process.getuid() === 0 ? ["APT::Sandbox::User=root"] : []),
  ];
  return settings.flatMap((setting) => ["-o", setting]);
}

export async function extract(debs, home, note) {
  for (const file of readdirSync(debs).filter((entry) => entry.endsWith(".deb"))) {
    await run("dpkg-deb", ["-x", join(debs, file), home], { doing: "unpacking", onStart: note });
  }
}

/**
 * Puts the shared libraries that this machine lacks, and only those, into `home/lib`. They come from
 * the packages that the program's packages depend on.
 */
export async function addLibraries(root, program, { home, debs, note }) {
  const lib = join(home, "lib-missing");
  const lacking = () =>
    missingLibraries(
      output("ldd", [program], { env: { ...process.env, LC_ALL: "C", LD_LIBRARY_PATH: lib } }) ||
        "",
    );
  const known = new Set();
  while (lacking().length > 0) {
    const files = readdirSync(debs).filter((entry) => entry.endsWith(".deb"));
    const wanted = files
      .flatMap((file) =>
        dependencyNames(output("dpkg-deb", ["-f", join(debs, file), "Depends"]) || ""),
      )
      .filter((name) => isLibraryPackage(name) && !known.has(name));
    if (wanted.length === 0) return false;
    for (const name of wanted) known.add(name);
    say(`shared libraries are missing here: unpacking ${[...new Set(wanted)].join(", ")}`);
    if (!(await download(root, [...new Set(wanted)], debs, note))) return false;
    const unpacked = join(home, "libraries");
    await extract(debs, unpacked, note);
    mkdirSync(lib, { recursive: true });
    for (let names = lacking(); names.length > 0; names = lacking()) {
      const found = names.filter((name) => copyLibrary(unpacked, name, lib));
      if (found.length === 0) break;
    }
    rmSync(unpacked, { recursive: true, force: true });
  }
  return true;
}

/** Names that `ldd` could not find. */
export function missingLibraries(said) {
  return [...said.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1]);
}

/** Package names of a Depends field: the first of each set of alternatives. */
export function dependencyNames(field) {
  return field
    .split(",")
    .map((entry) => entry.trim().split(/[\s|:(]/)[0])
    .filter((name) => name !== "");
}

/** The C library itself must be the machine's own. */
function isLibraryPackage(name) {
  return /^(lib|lua)/.test(name) && name !== "libc6";
}

function copyLibrary(tree, name, lib) {
  const found = readdirSync(tree, { recursive: true })
    .map((entry) => join(tree, entry))
    .find((path) => path.endsWith(`/${name}`) && existsSync(path));
  if (found === undefined) return false;
  copyFileSync(found, join(lib, name)); // follows the link to the library's full name
  return true;
}

/** Last of all, so that a server is either complete or not there. It stays right when the tree is moved. */
function writeStarter(base, name, program) {
  const bin = join(base, "bin");
  mkdirSync(bin, { recursive: true });
  const starter = join(bin, name);
  const inside = program.slice(base.length + 1);
  const library = existsSync(join(base, name, "lib-missing"))
    ? `LD_LIBRARY_PATH="$here/${name}/lib-missing\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\nexport LD_LIBRARY_PATH\n`
    : "";
  const text = `#!/bin/sh\nhere=$(cd "$(dirname "$0")/.." && pwd)\n${library}exec "$here/${inside}" "$@"\n`;
  writeFileSync(`${starter}.new`, text);
  chmodSync(`${starter}.new`, 0o755);
  renameSync(`${starter}.new`, starter);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
