/**
 * All set-up of a fresh clone, on any Node.js from 18 on and without a dependency:
 *
 *     node setup.mjs                 installs Node.js 24, the packages and the two servers
 *     node setup.mjs -- CMD ARGS…    does so, then runs CMD (a script, or a tool in node_modules/.bin)
 *
 * Fast when all is there. May be interrupted and started again, also twice at once; needs no root and
 * no terminal. Everything goes into node_modules, tools/node/node_modules and .evergrant.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  catchSignals,
  exitCodeOfSignal,
  Interrupted,
  SetupError,
  say,
} from "./tools/setup/children.mjs";
import { parseArguments, runCommand } from "./tools/setup/command.mjs";
import { buildKerberos } from "./tools/setup/kerberos.mjs";
import { takeLock } from "./tools/setup/lock.mjs";
import { chooseNode, installPackages, isNewEnough, stampKey } from "./tools/setup/packages.mjs";
import { installServers, missingServers } from "./tools/setup/servers.mjs";

const root = dirname(fileURLToPath(import.meta.url));
const stateDir = join(root, ".evergrant");
const stampFile = join(stateDir, "setup.json");

/** The Node.js of a finished set-up; undefined when something is missing or out of date. */
function finishedSetup() {
  try {
    const { key, node } = JSON.parse(readFileSync(stampFile, "utf8"));
    // npm writes this file last, and removes it first.
    const installed = join(root, "node_modules", ".package-lock.json");
    const whole = key === stampKey(root) && existsSync(node) && existsSync(installed);
    return whole && missingServers(root).length === 0 ? node : undefined;
  } catch {
    return undefined;
  }
}

async function setUp() {
  const finished = finishedSetup();
  if (finished !== undefined) return finished;
  say("preparing this tree (Node.js 24, packages, nats-server, redis-server)");
  const restoreSignals = catchSignals();
  const lock = await takeLock(stateDir);
  try {
    const byOther = finishedSetup();
    if (byOther !== undefined) return byOther;
    await installNode(lock.note);
    const node = chooseNode(root);
    await installPackages(root, root, "packages", lock.note);
    await buildKerberos();
    await installServers(root, lock.note);
    mkdirSync(stateDir, { recursive: true });
    writeFileSync(`${stampFile}.new`, JSON.stringify({ key: stampKey(root), node }));
    renameSync(`${stampFile}.new`, stampFile);
    say("done");
    return node;
  } finally {
    lock.release();
    restoreSignals();
  }
}

/** Where no Node.js is pinned, or it cannot be fetched, a new enough one of the machine will do. */
async function installNode(note) {
  try {
    await installPackages(root, join(root, "tools", "node"), "Node.js 24", note);
  } catch (error) {
    if (!(error instanceof SetupError) || !isNewEnough(process.versions.node)) throw error;
    say(`going on with this Node.js ${process.versions.node}`);
  }
}

try {
  const { command, args } = parseArguments(process.argv.slice(2));
  const node = await setUp();
  if (command !== undefined) process.exitCode = await runCommand(root, node, command, args);
} catch (error) {
  if (error instanceof Interrupted) {
    say(`${error.message}; the next start goes on from here`);
    process.exitCode = exitCodeOfSignal(error.signal);
  } else if (error instanceof SetupError) {
    say(error.message);
    process.exitCode = 2;
  } else {
    throw error;
  }
}
