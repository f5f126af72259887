/**
 * What Kerberos needs here: the native part of `kerberos`, the optional package that only the Hadoop
 * provider loads, and MIT's programs, which its tests start. Neither is part of the ordinary set-up,
 * since most jobs log in to no KDC:
 *
 *     node tools/setup/kerberos.mjs     makes both, if they are not there; prints where they are, as JSON
 *
 * Without root: what the machine lacks is unpacked from the distribution's packages into
 * .evergrant/kerberos. The compiler (c++, make, python3) is the machine's own.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, SetupError, say } from "./children.mjs";
import { npmCommand, npmEnvironment } from "./packages.mjs";
import { addLibraries, download, extract } from "./servers.mjs";

const PROGRAMS = ["krb5kdc", "kdb5_util", "kadmin.local", "kinit"];
const PROGRAM_PACKAGES = ["krb5-kdc", "krb5-admin-server", "krb5-user"];
const HEADER_PACKAGES = ["libkrb5-dev", "krb5-multidev", "comerr-dev"];

/** The ordinary set-up builds nothing: whoever configures the Hadoop provider is told what to do. */
export async function buildKerberos() {}

/** Resolves to `{path, libraries, databaseModules}`: additions to PATH and LD_LIBRARY_PATH, and the KDC's plug-ins. */
export async function installKerberos(root) {
  const home = join(root, ".evergrant", "kerberos");
  const found = (await machinePrograms()) ?? (await unpackedPrograms(root, home));
  await buildAddon(root, home);
  return found;
}

/** EVERGRANT_KERBEROS=private hides the machine's own. */
async function machinePrograms() {
  if (process.env["EVERGRANT_KERBEROS"] === "private") return undefined;
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/bin"];
  const whole = PROGRAMS.every((name) => folders.some((folder) => existsSync(join(folder, name))));
  return whole ? { path: ["/usr/sbin"], libraries: [], databaseModules: undefined } : undefined;
}

async function unpackedPrograms(root, home) {
  const folders = [join(home, "usr/sbin"), join(home, "usr/bin")];
  const programs = () =>
    PROGRAMS.map((name) => folders.map((folder) => join(folder, name)).find(existsSync));
  const lib = join(home, "lib-missing");
  const done = () =>
    programs().includes(undefined)
      ? undefined
      : { path: folders, libraries: [lib], databaseModules: modulesIn(home) };
  const mark = join(home, ".unpacked");
  if (existsSync(mark)) return done();
  const debs = await fetchPackages(root, home, PROGRAM_PACKAGES);
  for (const program of programs()) {
    if (program === undefined || !(await addLibraries(root, program, { home, debs }))) {
      throw new SetupError(`install ${PROGRAM_PACKAGES.join(", ")} by hand and run this again.`);
    }
  }
  rmSync(debs, { recursive: true, force: true });
  mkdirSync(mark);
  return done();
}

/** The folder of the KDC's database plug-ins, which a moved KDC does not find by itself. */
function modulesIn(home) {
  const found = readdirSync(join(home, "usr/lib"), { recursive: true }).find((path) =>
    path.endsWith("plugins/kdb/db2.so"),
  );
  return found && dirname(join(home, "usr/lib", found));
}

async function fetchPackages(root, home, packages) {
  const debs = join(home, `.download-${packages[0]}`);
  rmSync(debs, { recursive: true, force: true });
  mkdirSync(debs, { recursive: true });
  say(`unpacking ${packages.join(", ")} into .evergrant/kerberos`);
  if (!(await download(root, packages, debs))) {
    throw new SetupError(`install ${packages.join(", ")} by hand and run this again.`);
  }
  await extract(debs, home);
  return debs;
}

async function buildAddon(root, home) {
  const addon = join(root, "node_modules/kerberos/build/Release/kerberos.node");
  if (existsSync(addon)) return;
  const env = {
    ...npmEnvironment(root),
    npm_config_build_from_source: "true",
    // Node's headers, so that nothing is fetched for them.
    npm_config_nodedir: join(
      root,
      "tools/node/node_modules",
      `node-${process.platform}-${process.arch}`,
    ),
  };
  const machine = process.env["EVERGRANT_KERBEROS"] !== "private";
  if (!machine || !existsSync("/usr/include/gssapi/gssapi.h")) {
    const debs = await fetchPackages(root, home, HEADER_PACKAGES);
    rmSync(debs, { recursive: true, force: true });
    const include = join(home, "usr/include");
    env["CPATH"] = [include, join(include, "mit-krb5")].join(delimiter);
  }
  say("building the native part of kerberos");
  const [command, ...args] = npmCommand();
  const built = await run(command, [...args, "rebuild", "kerberos", "--loglevel=error"], {
    cwd: root,
    env,
    doing: "building kerberos",
  });
  if (!built || !existsSync(addon)) {
    throw new SetupError(
      "kerberos could not be built: it needs c++, make, python3 and libkrb5-dev. What the build said is above.",
    );
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  try {
    process.stdout.write(`${JSON.stringify(await installKerberos(root))}\n`);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
