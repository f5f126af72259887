/**
 * Adds to package-lock.json what npm leaves out when a registry lacks some platform's package: the
 * optional dependencies of other platforms. Without them `npm ci` calls the lock file out of sync.
 * Run it after `npm install`: `node tools/complete-lock.mjs`. The entries bear no integrity, since
 * nobody has seen those packages; npm fills it in where the registry has them.
 */
import { readFileSync, writeFileSync } from "node:fs";

const OS = ["aix", "android", "darwin", "freebsd", "linux", "openbsd", "openharmony", "win32"];
const CPU = ["arm", "arm64", "ia32", "loong64", "ppc64", "riscv64", "s390x", "x64", "wasm32"];
const LIBC = { gnu: "glibc", glibc: "glibc", musl: "musl" };

/** `os`, `cpu` and `libc` as the usual names of platform packages tell them. */
export function platformOfName(name) {
  const words = name.split(/[-/]/);
  const os = words.find((word) => OS.includes(word));
  const cpu = words.find((word) => CPU.includes(word));
  const libc = words.map((word) => LIBC[word]).find((word) => word !== undefined);
  return {
    ...(os === undefined ? {} : { os: [os] }),
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(libc === undefined ? {} : { libc: [libc] }),
  };
}

/** The entries that `lock` lacks, by path. Throws when one can't be told to be for another platform. */
export function lackingEntries(lock) {
  const lacking = {};
  for (const [path, entry] of Object.entries(lock.packages)) {
    for (const [name, range] of Object.entries(
      path === "" ? {} : entry.optionalDependencies || {},
    )) {
      const found = [`${path}/node_modules/${name}`, `node_modules/${name}`];
      if (found.some((place) => lock.packages[place] !== undefined)) continue;
      const platform = platformOfName(name);
      if (platform.os === undefined && platform.cpu === undefined) {
        throw new Error(`${name}, wanted by ${path}, is missing and names no platform`);
      }
      lacking[`node_modules/${name}`] = {
        version: range.replace(/^[\^~]/, ""),
        ...(entry.dev === true ? { dev: true } : {}),
        ...platform,
        optional: true,
      };
    }
  }
  return lacking;
}

if (process.argv[1]?.endsWith("complete-lock.mjs")) {
  const file = new URL("../package-lock.json", import.meta.url);
  const lock = JSON.parse(readFileSync(file, "utf8"));
  const lacking = lackingEntries(lock);
  const byPath = ([a], [b]) => (a < b ? -1 : 1);
  lock.packages = Object.fromEntries(Object.entries({ ...lock.packages, ...lacking }).sort(byPath));
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`added: ${Object.keys(lacking).join(", ") || "nothing"}`);
}
