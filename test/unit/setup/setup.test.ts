import { expect, test } from "vitest";

/** The set-up is plain JavaScript for any Node.js; these are the shapes that the tests hold it to. */
interface Lock {
  packages: Record<string, Record<string, unknown>>;
}
interface Pure {
  missingPackages(lock: Lock, installed: Lock, here: Record<string, string>): string[];
  isNewEnough(version: string): boolean;
  missingLibraries(said: string): string[];
  dependencyNames(field: string): string[];
  parseArguments(args: string[]): { command?: string; args?: string[] };
  withPath(root: string, node: string, env: Record<string, string>): Record<string, string>;
  exitCodeOfSignal(signal: string): number;
  lackingEntries(lock: Lock): Record<string, unknown>;
}

const TOOLS = [
  "setup/packages",
  "setup/servers",
  "setup/command",
  "setup/children",
  "complete-lock",
];
const modules = await Promise.all(
  TOOLS.map((name) => import(new URL(`../../../tools/${name}.mjs`, import.meta.url).href)),
);
const setup = Object.assign({}, ...modules) as Pure;

const here = { os: "linux", cpu: "x64", libc: "glibc" };
const platformOnly = (os: string, cpu: string, libc?: string) => ({
  version: "1.0.0",
  optional: true,
  os: [os],
  cpu: [cpu],
  ...(libc === undefined ? {} : { libc: [libc] }),
});

test("a tree is installed when it has all that the lock file wants on this platform", () => {
  const lock = {
    packages: {
      "": { version: "1.0.0" },
      "node_modules/a": { version: "1.0.0" },
      "node_modules/a/node_modules/@s/b": { version: "2.0.0" },
      "node_modules/mine": platformOnly("linux", "x64", "glibc"),
      "node_modules/mac": platformOnly("darwin", "arm64"),
      "node_modules/musl": platformOnly("linux", "x64", "musl"),
      "node_modules/of-mac": { version: "1.0.0", optional: true },
    },
  };
  const missing = (installed: Lock["packages"]) =>
    setup.missingPackages(lock, { packages: installed }, here);
  const whole = {
    "node_modules/a": { version: "1.0.0" },
    "node_modules/a/node_modules/@s/b": { version: "2.0.0" },
    "node_modules/mine": { version: "1.0.0" },
  };
  expect(missing(whole)).toEqual([]);
  expect(missing({ ...whole, "node_modules/a": { version: "1.0.1" } })).toEqual(["a"]);
  expect(missing({})).toEqual(["a", "@s/b", "mine"]);
});

test("the lock file is completed for platforms whose packages the registry lacked", () => {
  const lock = {
    packages: {
      "": { optionalDependencies: { root: "^1.0.0" } },
      "node_modules/tool": {
        dev: true,
        optionalDependencies: { "@t/linux-x64": "1.2.3", "@t/cli-linux-arm64-musl": "1.2.3" },
      },
      "node_modules/@t/linux-x64": { version: "1.2.3" },
    },
  };
  expect(setup.lackingEntries(lock)).toEqual({
    "node_modules/@t/cli-linux-arm64-musl": {
      version: "1.2.3",
      dev: true,
      os: ["linux"],
      cpu: ["arm64"],
      libc: ["musl"],
      optional: true,
    },
  });
  lock.packages["node_modules/tool"].optionalDependencies = {
    "@t/linux-x64": "1",
    other: "1",
  } as never;
  expect(() => setup.lackingEntries(lock)).toThrow("names no platform");
});

test("Node.js 22.18 is the oldest that runs the sources", () => {
  const versions = ["20.20.2", "22.17.9", "22.18.0", "v24.0.0"];
  expect(versions.map(setup.isNewEnough)).toEqual([false, false, true, true]);
});

test("only the libraries that the loader does not find are taken from packages", () => {
  const said = `\tlinux-vdso.so.1 (0x1)
\tlibjemalloc.so.2 => not found
\tlibc.so.6 => /lib/libc.so.6 (0x2)
\tliblzf.so.1 => not found
`;
  expect(setup.missingLibraries(said)).toEqual(["libjemalloc.so.2", "liblzf.so.1"]);
  expect(
    setup.dependencyNames("adduser, libc6 (>= 2.34), libfoo1:any | libbar2, liblzf1\n"),
  ).toEqual(["adduser", "libc6", "libfoo1", "liblzf1"]);
  expect(setup.dependencyNames("")).toEqual([]);
});

test("what npm appends to a script reaches the command", () => {
  expect(setup.parseArguments([])).toEqual({});
  expect(setup.parseArguments(["--", "vitest", "run", "--", "x"])).toEqual({
    command: "vitest",
    args: ["run", "--", "x"],
  });
  expect(() => setup.parseArguments(["vitest"])).toThrow("usage");
});

test("children of the command find the chosen Node.js before the machine's", () => {
  const { PATH } = setup.withPath("/r", "/r/n/bin/node", { PATH: "/usr/bin" });
  expect(PATH).toBe("/r/n/bin:/r/node_modules/.bin:/usr/bin");
});

test("a command that a signal ended ends the set-up as a shell would", () => {
  expect(["SIGHUP", "SIGINT", "SIGKILL", "SIGTERM"].map(setup.exitCodeOfSignal)).toEqual([
    129, 130, 137, 143,
  ]);
});
