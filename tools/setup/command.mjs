/** Runs the command behind `node setup.mjs --` with the right Node.js, for itself and for its children. */
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readSync, realpathSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { exitCodeOfSignal, SetupError } from "./children.mjs";

/** Splits `[OPTIONS] -- CMD ARGS…`. Throws a sentence on anything else. */
export function parseArguments(args) {
  if (args.length === 0) return {};
  if (args[0] !== "--" || args[1] === undefined) {
    throw new SetupError("usage: node setup.mjs [-- COMMAND [ARGUMENT…]]");
  }
  return { command: args[1], args: args.slice(2) };
}

/**
 * Program and arguments for a script path or the name of a tool in node_modules/.bin. Without `--` Node.js
 * would take a script's `--env-file` for its own.
 */
export function resolveCommand(root, node, command, args) {
  if (/\.(ts|mts|mjs|js)$/.test(command)) return [node, ["--", resolve(root, command), ...args]];
  const tool = join(root, "node_modules", ".bin", command);
  if (!existsSync(tool)) {
    throw new SetupError(`${command} is neither a script nor a tool in node_modules/.bin.`);
  }
  // By hand rather than by its first line, which would take the Node.js that PATH finds.
  return startsWithNode(tool) ? [node, ["--", realpathSync(tool), ...args]] : [tool, args];
}

/** PATH with the chosen Node.js and the tree's tools first. */
export function withPath(root, node, env) {
  const first = [dirname(node), join(root, "node_modules", ".bin")];
  return { ...env, PATH: [...first, env["PATH"] || ""].join(delimiter) };
}

/** Runs it in the tree's root and ends this process with its exit code. */
export async function runCommand(root, node, command, args) {
  const [program, programArgs] = resolveCommand(root, node, command, args);
  const child = spawn(program, programArgs, {
    cwd: root,
    env: withPath(root, node, process.env),
    stdio: "inherit",
  });
  // At a terminal Ctrl-C reaches the child by itself; a second one would mean "at once".
  const terminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      if (signal !== "SIGINT" || !terminal) child.kill(signal);
    });
  }
  return new Promise((done) => {
    child.once("error", () => done(1));
    child.once("exit", (code, signal) => done(code === null ? exitCodeOfSignal(signal) : code));
  });
}

function startsWithNode(path) {
  const start = Buffer.alloc(64);
  const file = openSync(path, "r");
  readSync(file, start, 0, start.length, 0);
  closeSync(file);
  return start.toString("latin1").startsWith("#!/usr/bin/env node");
}
