/**
 * Documents that are made from the sources: docs/schemas/*.json and docs/cli.md.
 *
 *     node tools/docs-sync.mjs          ends with 1 and names the files that are out of date
 *     node tools/docs-sync.mjs --write  writes them
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildProgram } from "../src/cli/program.ts";
import { jobConfigJsonSchema } from "../src/coordinator/config.ts";
import { agentConfigJsonSchema } from "../src/worker-agent/config.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

const json = (value) => `${JSON.stringify(value, null, 2)}\n`;

/** The help of every subcommand that is not hidden, as it is printed. */
function commandLine() {
  let printed = "";
  const io = {
    stdout: (text) => {
      printed += text;
    },
    stderr: () => undefined,
  };
  const program = buildProgram(io, () => undefined);
  const help = (command) => {
    printed = "";
    command.configureOutput({ getOutHelpWidth: () => 96, getOutHasColors: () => false });
    command.outputHelp();
    return printed.trimEnd();
  };
  const hidden = (command) => command._hidden === true;
  const parts = program.commands.filter((command) => !hidden(command));
  return [
    "# Command line",
    "",
    "Made from the sources by `tools/docs-sync.mjs --write`: change the text there.",
    "",
    "Durations are `500ms`, `20s`, `5m`, `2h`, `7d`; a bare number is in seconds. A failure is one sentence on",
    "standard error that starts with its [code](protocol.md). Logs are JSON lines on standard error, results go",
    "to standard output.",
    "",
    "```text",
    help(program),
    "```",
    "",
    ...parts.flatMap((command) => [
      `## evergrant ${command.name()}`,
      "",
      "```text",
      help(command),
      "```",
      "",
    ]),
  ].join("\n");
}

const documents = {
  "docs/schemas/job.schema.json": json(jobConfigJsonSchema()),
  "docs/schemas/agent.schema.json": json(agentConfigJsonSchema()),
  "docs/cli.md": commandLine(),
};

const write = process.argv.includes("--write");
const stale = [];
for (const [name, content] of Object.entries(documents)) {
  const path = join(root, name);
  let found;
  try {
    found = readFileSync(path, "utf8");
  } catch {
    found = undefined;
  }
  if (found === content) continue;
  if (write) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    console.log(`written: ${name}`);
  } else stale.push(name);
}
if (stale.length > 0) {
  console.error(`out of date: ${stale.join(", ")} (node tools/docs-sync.mjs --write)`);
  process.exit(1);
}
