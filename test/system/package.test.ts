/** The package as users get it: `npm pack`, `npm install` into an empty folder, and everything that its documents show. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../src/embedded/answers.ts";
import { startProcess } from "../support/evergrant-process.ts";
import { blocksOf, filesOf } from "../support/markdown.ts";
import { install, npm, pack, ROOT, scratch, shellEnvironment } from "../support/packed-package.ts";

const run = promisify(execFile);
const TREE_BIN = join(ROOT, "node_modules");
const FIVE_MINUTES = 300_000;

let tarball: string;
let dir: string;

beforeAll(async () => {
  tarball = await pack();
  dir = await install(tarball);
}, FIVE_MINUTES);

const inside = (...path: string[]): string => join(dir, "node_modules/evergrant", ...path);

interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever that is. */
async function said(program: string, args: readonly string[], cwd = dir): Promise<Said> {
  const child = startProcess(program, args, { cwd, env: shellEnvironment(cwd) });
  const code = await child.ended;
  return { code, stdout: child.stdout(), stderr: child.stderr() };
}

describe("the packed package", () => {
  it("passes publint and arethetypeswrong", async () => {
    const lint = await said(process.execPath, [
      join(TREE_BIN, "publint/src/cli.js"),
      tarball,
      "--strict",
    ]);
    expect(lint.code, lint.stdout + lint.stderr).toBe(0);
    expect(lint.stdout).toContain("All good!");
    const types = await said(process.execPath, [
      join(TREE_BIN, "@arethetypeswrong/cli/dist/index.js"),
      ...["--profile", "esm-only", "--format", "json", tarball],
    ]);
    expect(types.code, types.stdout + types.stderr).toBe(0);
  });

  it("holds what it needs, and neither tests, tools, sources of ours nor leftovers", () => {
    const files = readdirSync(inside(), { recursive: true }).map(String);
    expect(files).toEqual(
      expect.arrayContaining([
        "bin/evergrant.mjs",
        "dist/library/index.d.ts",
        "deploy",
        "docs/library.md",
        "examples",
      ]),
    );
    const foreign = files.filter((file) =>
      /(^|\/)(test|tools|bench|secrets|src\/[a-z-]+\/.*\.ts|node_modules|target)(\/|$)|\.tsbuildinfo$|\.map$|(?<!\.d)\.ts$|\.test\./.test(
        file,
      ),
    );
    expect(foreign.filter((file) => !file.startsWith("deploy/spark/src"))).toEqual([]);
  });

  it("needs no package of development: what it imports is a dependency or Node's own", () => {
    const { dependencies, optionalDependencies } = JSON.parse(
      readFileSync(inside("package.json"), "utf8"),
    );
    const allowed = new Set([...Object.keys(dependencies), ...Object.keys(optionalDependencies)]);
    const files = readdirSync(inside("dist"), { recursive: true }).map(String);
    const strange = files
      .filter((file) => /\.(js|d\.ts)$/.test(file))
      .flatMap((file) =>
        [
          ...readFileSync(inside("dist", file), "utf8").matchAll(
            /^(?:import|export)\b[^;]*?from "([^."][^"]*)"|\bimport\("([^."$][^"]*)"\)/gm,
          ),
        ]
          .map(([, from, dynamic]) => from ?? dynamic ?? "")
          .filter((name) => !name.startsWith("node:"))
          .map((name) =>
            name
              .split("/")
              .slice(0, name.startsWith("@") ? 2 : 1)
              .join("/"),
          )
          .filter((name) => !allowed.has(name))
          .map((name) => `${file}: ${name}`),
      );
    expect(strange).toEqual([]);
  });

  it("runs evergrant --help", async () => {
    const { code, stdout } = await said(join(dir, "node_modules/.bin/evergrant"), ["--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain("Usage: evergrant");
  });

  it("says one clear sentence on a Node.js that is too old", async () => {
    const old = await oldNode();
    const { code, stdout, stderr } = await said(old, [inside("bin/evergrant.mjs"), "--help"]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(
      /^evergrant needs Node\.js 22\.18 or newer, and this is 20\.\d+\.\d+\.\n$/,
    );
  });

  it(
    "compiles and runs every example of docs/library.md",
    async () => {
      const files = filesOf(readFileSync(inside("docs/library.md"), "utf8"));
      for (const [name, text] of files) writeFileSync(join(dir, name), text);
      const sources = [...files.keys()].filter((name) => name.endsWith(".ts"));
      expect(sources.length).toBeGreaterThanOrEqual(7);
      const strict = [
        ...["--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"],
        ...["--module", "nodenext", "--target", "es2023", "--erasableSyntaxOnly"],
        ...["--types", "node", "--typeRoots", join(TREE_BIN, "@types"), "--skipLibCheck"],
      ];
      const tsc = (...args: string[]) =>
        said(process.execPath, [join(TREE_BIN, "typescript/bin/tsc"), ...strict, ...args]);
      const checked = await tsc("--noEmit", ...sources);
      expect(checked.stdout).toBe("");

      // A plug-in is a package of plain JavaScript, beside the configuration that names it.
      for (const name of ["acme-provider-badge", "acme-receiver-badge"]) {
        const folder = join(dir, "node_modules", name);
        mkdirSync(folder);
        writeFileSync(
          join(folder, "package.json"),
          JSON.stringify({ name, version: "1.0.0", type: "module", main: `${name}.js` }),
        );
        const compiled = await tsc("--outDir", folder, `${name}.ts`);
        expect(compiled.stdout).toBe("");
      }
      const { code, stdout, stderr } = await said(process.execPath, ["driver.ts"]);
      expect(code, stdout + stderr).toBe(0);
      for (const line of [
        "executor: works with a blue badge",
        "executor: has a new badge",
        "sidecar: consumers need BADGE_FILE",
        "sidecar: the file says blue",
        "console: done, missing: nobody",
        "listener: bundles come on evergrant.v1.bundle.default.etl",
        "listener: lets in 100000 agents until 20",
      ]) {
        expect(stdout).toContain(line);
      }
      expect(stdout).toMatch(/driver: \d+ issuer calls for generation \d+/);
    },
    FIVE_MINUTES,
  );

  it(
    "runs the three-terminal start of the README",
    async () => {
      const blocks = blocksOf(readFileSync(inside("README.md"), "utf8"));
      const port = String(await freePort());
      const shell = (under: string): string[] =>
        blocks
          .filter((block) => block.under === under && block.language === "sh")
          .map(({ text }) => text.replaceAll("4599", port));
      const cwd = scratch("readme");
      const bin = join(cwd, "bin");
      mkdirSync(bin);
      // Any AWS client: here the SDK that the package brings, as a command of the CLI's form.
      writeFileSync(join(bin, "aws"), AWS.replaceAll("INSTALLED", dir), { mode: 0o755 });
      const env = shellEnvironment(cwd, bin, join(dir, "node_modules/.bin"));
      const terminal = (script: string) => startProcess("sh", ["-e", "-c", script], { cwd, env });
      const [emulatorBlock = ""] = shell("To try without AWS");
      const [coordinatorBlock = ""] = shell("First terminal: the coordinator");
      const [agentBlock = ""] = shell("Second terminal: an agent");
      const [clientBlock = "", execBlock = ""] = shell("Third terminal: any AWS client");
      await terminal(emulatorBlock).says("STS emulator at");
      const coordinator = terminal(coordinatorBlock);
      await coordinator.says("ready: every credential is obtained");
      await terminal(agentBlock).says("ready: lake by aws-container");
      for (const block of [clientBlock, execBlock]) {
        const client = terminal(block);
        expect(await client.ended, client.stderr()).toBe(0);
        expect(client.stdout()).toContain("arn:aws:sts::123456789012:assumed-role/lake/");
      }
      const operate = terminal(shell("Operate it")[0] ?? "");
      expect(await operate.ended, operate.stdout() + operate.stderr()).toBe(0);
      expect(await coordinator.ended).toBe(0);
      expect(existsSync(join(cwd, "run/join.json"))).toBe(true);
    },
    FIVE_MINUTES,
  );
});

const AWS = `#!/bin/sh
cat > "$PWD/bin/aws.mjs" <<'END'
import { createRequire } from "node:module";
const { STSClient, GetCallerIdentityCommand } = createRequire("INSTALLED/")("@aws-sdk/client-sts");
const sts = new STSClient({ endpoint: process.argv.at(-1), region: "eu-west-1" });
console.log((await sts.send(new GetCallerIdentityCommand({}))).Arn);
END
exec node "$PWD/bin/aws.mjs" "$@"
`;

/** A Node.js of 20, from npm's packages, fetched once per checkout. */
async function oldNode(): Promise<string> {
  const folder = join(ROOT, ".evergrant/package-test/node-20");
  const name = `node-${process.platform}-${process.arch}`;
  const program = join(folder, "node_modules", name, "bin/node");
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true }));
    await npm(["install", "--no-audit", "--no-fund", "--loglevel=error", `${name}@20`], folder);
  }
  await run(program, ["--version"]);
  return program;
}
