#!/usr/bin/env -S node --
// `--`: else Node.js takes `--env-file`, an option of ours, for its own.
// Starts the command line. Nothing newer than import() before the check, so that an old Node.js gets to it.
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(`evergrant needs Node.js 22.18 or newer, and this is ${process.versions.node}.`);
  process.exit(2);
}

import("node:fs")
  .then(({ existsSync }) => {
    const source = new URL("../src/cli/main.ts", import.meta.url);
    const built = new URL("../dist/cli/main.js", import.meta.url);
    return import((existsSync(source) ? source : built).href);
  })
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
