/**
 * From the `kind` in the configuration to a receiver's factory: one of ours, or the export
 * `receiver` of an npm package. Owns the lookup and the check of what a package exports; refuses to
 * create receivers.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { EvergrantError } from "../../protocol/errors.ts";
import type { CredentialReceiverFactory } from "../ports/credential-receiver.ts";
import { BUILT_IN_RECEIVERS } from "./built-in.ts";

/** A bare or scoped package name, with an optional path in it. */
const PACKAGE = /^(@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*(\/[A-Za-z0-9._~/-]+)?$/;

/**
 * @param kind a built-in receiver's name, or a package's.
 * @param fromDir where packages are looked up, as `require` does: the configuration's folder.
 * @throws EvergrantError `PLUGIN_UNUSABLE` when there is no such package, it cannot be loaded, or it
 *   exports no usable `receiver`.
 */
export async function loadReceiverFactory(
  kind: string,
  fromDir: string,
): Promise<CredentialReceiverFactory> {
  const builtIn = BUILT_IN_RECEIVERS.get(kind);
  if (builtIn !== undefined) return await builtIn.load();
  const exported = await importPackage(kind, fromDir);
  const fault = faultOf(exported["receiver"], kind);
  if (fault !== undefined) {
    throw new EvergrantError("PLUGIN_UNUSABLE", `receiver package "${kind}" ${fault}`);
  }
  return exported["receiver"] as CredentialReceiverFactory;
}

/** The receiver that serves this kind of credential when the agent has no configuration; undefined: none does. */
export async function conventionFor(
  credentialKind: string,
): Promise<CredentialReceiverFactory | undefined> {
  for (const builtIn of BUILT_IN_RECEIVERS.values()) {
    if (builtIn.conventionFor === credentialKind) return await builtIn.load();
  }
  return undefined;
}

async function importPackage(kind: string, fromDir: string): Promise<Record<string, unknown>> {
  const file = PACKAGE.test(kind) ? locate(kind, resolve(fromDir)) : undefined;
  if (file === undefined) {
    const known = [...BUILT_IN_RECEIVERS.keys()].join(", ");
    throw new EvergrantError(
      "PLUGIN_UNUSABLE",
      `there is no receiver "${kind}": built in are ${known}, and no package of this name is installed for ${fromDir}`,
    );
  }
  try {
    return (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  } catch (error) {
    throw EvergrantError.from(error, "PLUGIN_UNUSABLE", `loading receiver package "${kind}"`);
  }
}

/** The file that the package means by its name; undefined when it is not installed. */
function locate(kind: string, fromDir: string): string | undefined {
  const require = createRequire(join(fromDir, "configuration.js"));
  try {
    return require.resolve(kind);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") return undefined;
  }
  // The package exports only for `import`, and Node has no stable way to resolve that from another folder.
  for (const folder of require.resolve.paths(kind) ?? []) {
    const manifest = join(folder, kind, "package.json");
    const target = importTarget(manifest);
    if (target !== undefined) return join(dirname(manifest), target);
  }
  return undefined;
}

function importTarget(manifest: string): string | undefined {
  try {
    const { exports } = JSON.parse(readFileSync(manifest, "utf8")) as { exports?: unknown };
    const root = isRecord(exports) && "." in exports ? exports["."] : exports;
    return targetIn(root);
  } catch {
    return undefined;
  }
}

function targetIn(entry: unknown): string | undefined {
  if (typeof entry === "string") return entry;
  if (!isRecord(entry)) return undefined;
  return targetIn(entry["node"] ?? entry["import"] ?? entry["default"]);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;

/** What is wrong with an export, in words that follow the package's name. */
function faultOf(receiver: unknown, kind: string): string | undefined {
  if (!isRecord(receiver)) return "has no export named receiver";
  const { serves, options } = receiver;
  if (receiver["kind"] !== kind) return `exports a receiver whose kind is not "${kind}"`;
  if (!Array.isArray(serves) || serves.length === 0 || serves.some((s) => typeof s !== "string")) {
    return "exports a receiver whose serves is no list of credential kinds";
  }
  if (typeof receiver["byConvention"] !== "boolean") {
    return "exports a receiver whose byConvention is no boolean";
  }
  if (!isRecord(options) || typeof options["safeParse"] !== "function") {
    return "exports a receiver whose options is no zod schema";
  }
  return typeof receiver["create"] === "function" ? undefined : "exports a receiver without create";
}
