/**
 * Templates of the `file` receiver: text with `${path.to.field}` or `${path.to.field|filter}`, and
 * `$${` for a literal `${`. Pure. Owns that tiny language, which has no logic on purpose; whatever
 * needs more is a command's work (`exec`). No value is ever put into an error (I9).
 */
import { EvergrantError } from "../../../protocol/errors.ts";
import { shellWord } from "../shell-word.ts";

/** A text with its fields found; made once, filled at each rotation. */
export type Template = readonly (string | Field)[];

export interface Field {
  readonly path: readonly string[];
  readonly filter: Filter;
}

/**
 * `raw` puts text as it is; `json` a JSON value, strings in quotes; `jsonText` a string's JSON
 * escapes without the quotes; `shell` one word in single quotes.
 */
export type Filter = "raw" | "json" | "jsonText" | "shell";

const FILTERS: Readonly<Record<Filter, (value: unknown) => string | undefined>> = {
  raw: textOf,
  json: (value) => JSON.stringify(value),
  jsonText: (value) => {
    const text = textOf(value);
    return text === undefined ? undefined : JSON.stringify(text).slice(1, -1);
  },
  shell: (value) => {
    const text = textOf(value);
    return text === undefined || text.includes("\0") ? undefined : shellWord(text);
  },
};

const FIELD = /\$\$\{|\$\{([^}]*)\}?/g;
const INSIDE = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\|[A-Za-z]+)?$/;

/** The faults of a template, empty when it has none. */
export function templateFaults(text: string): string[] {
  const faults: string[] = [];
  for (const match of text.matchAll(FIELD)) {
    const inside = match[1];
    if (inside === undefined) continue;
    const shown = `\${${inside.slice(0, 60)}}`;
    const filter = inside.split("|")[1] ?? "raw";
    if (!match[0].endsWith("}")) faults.push(`${shown} has no closing brace`);
    else if (!INSIDE.test(inside))
      faults.push(`${shown} is not of the form \${path.to.field|filter}`);
    else if (!Object.hasOwn(FILTERS, filter)) {
      faults.push(`${shown} has an unknown filter; there are ${Object.keys(FILTERS).join(", ")}`);
    }
  }
  return faults;
}

/** @throws EvergrantError `RECEIVER_FAILED`, with all faults. */
export function parseTemplate(text: string): Template {
  const faults = templateFaults(text);
  if (faults.length > 0) {
    throw new EvergrantError("RECEIVER_FAILED", `the template is unusable: ${faults.join("; ")}`);
  }
  const parts: (string | Field)[] = [];
  let from = 0;
  for (const match of text.matchAll(FIELD)) {
    parts.push(text.slice(from, match.index));
    from = match.index + match[0].length;
    const [path = "", filter = "raw"] = (match[1] ?? "").split("|");
    parts.push(match[1] === undefined ? "${" : { path: path.split("."), filter: filter as Filter });
  }
  return [...parts, text.slice(from)];
}

/** @throws EvergrantError `RECEIVER_FAILED` naming a field that is missing, or that has no text for its filter. */
export function fillTemplate(template: Template, document: object): string {
  return template
    .map((part) => {
      if (typeof part === "string") return part;
      const value = valueAt(document, part.path);
      const text = value === undefined ? undefined : FILTERS[part.filter](value);
      if (text !== undefined) return text;
      const why =
        value === undefined ? "is not in this credential" : `cannot be put as ${part.filter}`;
      throw new EvergrantError(
        "RECEIVER_FAILED",
        `the template's field ${part.path.join(".")} ${why}`,
      );
    })
    .join("");
}

function valueAt(document: object, path: readonly string[]): unknown {
  let value: unknown = document;
  for (const name of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name))
      return undefined;
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  return value;
}

function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : undefined;
}
