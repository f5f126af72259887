/**
 * The package as users get it: packed by npm from a copy of this tree, so that nobody's `dist` is
 * touched, and installed into an empty folder from the registry.
 */
import { execFile } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll } from "vitest";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

const folders = new Set<string>();
afterAll(() => {
  for (const dir of folders) rmSync(dir, { recursive: true, force: true });
});

/** A folder that goes with the test file. Blanks in its name, as users have them. */
export function scratch(name: string): string {
  const dir = mkdtempSync(join(tmpdir(), `evergrant ${name} `));
  folders.add(dir);
  return dir;
}

/** The environment of a user's shell: PATH begins with this Node.js, nothing of npm's or vitest's is in it. */
export const shellEnvironment = (home: string, ...first: string[]): Record<string, string> => ({
  PATH: [
    ...first,
    dirname(process.execPath),
    process.env["PATH"] ?? "",
    join(ROOT, ".evergrant/servers/bin"),
  ].join(":"),
  HOME: home,
  ...Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] =>
        /^(npm_config_(cache|registry|cafile|userconfig)|NODE_EXTRA_CA_CERTS|https?_proxy|no_proxy)$/i.test(
          entry[0],
        ) && entry[1] !== undefined,
    ),
  ),
});

const run = promisify(execFile);
const LIMIT = { maxBuffer: 64 * 1024 * 1024 };

/** What npm printed. Rejects with all of it when npm fails. */
export async function npm(args: readonly string[], cwd: string): Promise<string> {
  const home = process.env["HOME"] ?? cwd;
  const { stdout } = await run("npm", [...args], { cwd, env: shellEnvironment(home), ...LIMIT });
  return stdout;
}

/** Packs the tree. @returns the tarball's path */
export async function pack(): Promise<string> {
  const dir = scratch("pack");
  const parts = [
    ...["package.json", "package-lock.json", "tsconfig.base.json", "setup.mjs"],
    ...["src", "bin", "deploy", "docs", "examples", "README.md", "LICENSE", "CHANGELOG.md"],
    ...[
      "tools/build.mjs",
      "tools/setup",
      "tools/node/package.json",
      "tools/node/package-lock.json",
    ],
  ];
  for (const part of parts) {
    cpSync(join(ROOT, part), join(dir, part), {
      recursive: true,
      filter: (path) => !["node_modules", "target", ".venv", "secrets"].includes(basename(path)),
    });
  }
  // What operators make beside it must never be published.
  mkdirSync(join(dir, "deploy/secrets"));
  writeFileSync(join(dir, "deploy/secrets/job-key.json"), "secret");
  for (const modules of ["node_modules", "tools/node/node_modules"]) {
    if (existsSync(join(ROOT, modules))) symlinkSync(join(ROOT, modules), join(dir, modules));
  }
  // The copy is set up as this tree is: `prepack` must not begin it anew.
  const { stampKey } = (await import("../../tools/setup/packages.mjs" as string)) as {
    stampKey(root: string): string;
  };
  mkdirSync(join(dir, ".evergrant"));
  writeFileSync(
    join(dir, ".evergrant/setup.json"),
    JSON.stringify({ key: stampKey(dir), node: process.execPath }),
  );
  const said = JSON.parse(await npm(["pack", "--json", "--loglevel=error"], dir)) as {
    filename: string;
  }[];
  return join(dir, said[0]?.filename ?? "");
}

/** Installs a tarball into an empty folder, with its dependencies from the registry. */
export async function install(tarball: string): Promise<string> {
  const dir = scratch("installed");
  writeFileSync(join(dir, "package.json"), JSON.stringify({ private: true, type: "module" }));
  // Optional packages are compiled; who wants none of Kerberos leaves them out.
  await npm(
    ["install", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error", tarball],
    dir,
  );
  return dir;
}
