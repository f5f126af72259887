/**
 * From the `kind` of a configuration to a provider's factory: built in, or from an npm package.
 * Owns how a package is found: from the configuration's folder, as if the configuration imported it.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { EvergrantError } from "../../protocol/errors.ts";
import type { CredentialProviderFactory } from "../ports/credential-provider.ts";
import { BUILT_IN_PROVIDERS } from "./built-in.ts";
import { adoptPlugin } from "./plugin-provider.ts";

/** A package's name as npm takes it. Paths are refused: a configuration names packages only. */
const PACKAGE_NAME = /^(@[a-z0-9-~][a-z0-9-._~]*\/)?[a-z0-9-~][a-z0-9-._~]*$/;

/**
 * The factory of a kind. A package must export it as `provider`.
 * @param fromDir absolute path of the configuration's folder, where packages are looked for
 * @throws EvergrantError PLUGIN_UNUSABLE where there is none, it does not load, or its shape is wrong
 */
export async function loadProviderFactory(
  kind: string,
  fromDir: string,
): Promise<CredentialProviderFactory> {
  const builtIn = Object.hasOwn(BUILT_IN_PROVIDERS, kind) ? BUILT_IN_PROVIDERS[kind] : undefined;
  if (builtIn !== undefined) return builtIn();
  const known = Object.keys(BUILT_IN_PROVIDERS).join(", ");
  if (!PACKAGE_NAME.test(kind)) {
    const message = `"${kind}" is neither a built-in provider (${known}) nor the name of an npm package`;
    throw new EvergrantError("PLUGIN_UNUSABLE", message, { details: { kind } });
  }
  const entry = await resolvePackage(kind, fromDir);
  if (entry === undefined) {
    const message = `there is no built-in provider "${kind}" (${known}), and no package of that name is installed for ${fromDir}`;
    throw new EvergrantError("PLUGIN_UNUSABLE", message, { details: { kind, fromDir } });
  }
  let loaded: Readonly<Record<string, unknown>>;
  try {
    loaded = await import(pathToFileURL(entry).href);
  } catch (cause) {
    const what = cause instanceof Error ? `${cause.name}: ${cause.message}` : typeof cause;
    const message = `the package ${kind} does not load (${what})`;
    throw new EvergrantError("PLUGIN_UNUSABLE", message, { cause, details: { kind, entry } });
  }
  return adoptPlugin(loaded["provider"], kind);
}

/** The file that `import(name)` would load from `fromDir`; undefined where there is none. */
async function resolvePackage(name: string, fromDir: string): Promise<string | undefined> {
  const require = createRequire(join(fromDir, "resolve-from-here.js"));
  try {
    return require.resolve(name);
  } catch (thrown) {
    // `require` sees no entry that is exported for `import` alone.
    if ((thrown as NodeJS.ErrnoException).code !== "ERR_PACKAGE_PATH_NOT_EXPORTED")
      return undefined;
  }
  for (const folder of require.resolve.paths(name) ?? []) {
    const text = await readFile(join(folder, name, "package.json"), "utf8").catch(() => undefined);
    if (text === undefined) continue;
    const entry = importEntry((JSON.parse(text) as { readonly exports?: unknown }).exports);
    return entry === undefined ? undefined : join(folder, name, entry);
  }
  return undefined;
}

/** The main entry of a package's `exports` under the conditions of an import in Node. */
function importEntry(exported: unknown): string | undefined {
  if (typeof exported === "string") return exported;
  if (typeof exported !== "object" || exported === null) return undefined;
  for (const [condition, target] of Object.entries(exported)) {
    if ([".", "import", "node", "default"].includes(condition)) {
      const entry = importEntry(target);
      if (entry !== undefined) return entry;
    }
  }
  return undefined;
}
