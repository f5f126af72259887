/**
 * Where the operator's file is, and what it must look like. Owns the order in which it is looked for
 * (design, section 8); refuses to know what is done with it.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseJson } from "../protocol/encoding.ts";
import { EvergrantError } from "../protocol/errors.ts";
import { type OperatorFile, operatorFileSchema } from "../protocol/join.ts";

/** The variable that names the file when no option does. */
export const OPERATOR_FILE_VARIABLE = "EVERGRANT_OPERATOR_FILE";

/** Where a coordinator that was started in this folder leaves it. */
export const DEFAULT_OPERATOR_FILE = join("run", "operator.json");

export interface OperatorFilePlace {
  readonly path: string;
  /** Nobody named it: its absence means that no coordinator was started here. */
  readonly byDefault: boolean;
}

/** `--operator FILE`, then the variable, then `./run/operator.json`. An empty variable counts as unset. */
export function operatorFilePlace(
  option: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  workingDir: string,
): OperatorFilePlace {
  const named = option ?? (env[OPERATOR_FILE_VARIABLE] || undefined);
  return named === undefined
    ? { path: resolve(workingDir, DEFAULT_OPERATOR_FILE), byDefault: true }
    : { path: resolve(workingDir, named), byDefault: false };
}

/**
 * Reads and checks an operator's file.
 * @throws EvergrantError `NO_COORDINATOR` when the default file is not there; `FILE_UNUSABLE` when a
 * named one is not, or when it is not an operator's file.
 */
export function readOperatorFile({ path, byDefault }: OperatorFilePlace): OperatorFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    if (missing && byDefault) {
      throw new EvergrantError(
        "NO_COORDINATOR",
        `there is no ${path}: no coordinator was started in this folder (--operator FILE or ${OPERATOR_FILE_VARIABLE} names another operator's file)`,
      );
    }
    if (missing) throw new EvergrantError("FILE_UNUSABLE", `there is no operator's file ${path}`);
    throw EvergrantError.from(cause, "FILE_UNUSABLE", `reading ${path}`);
  }
  try {
    return parseJson(operatorFileSchema, text, path);
  } catch {
    throw new EvergrantError("FILE_UNUSABLE", `${path} is not an operator's file of this version`);
  }
}
