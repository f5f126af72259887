/** Session tags: duplicates, transitive keys, and what a chained session inherits. */
import { granted, type Judged, refused } from "../shared/refusal.ts";

export interface SessionTags {
  /** All tags of the new session, inherited ones included. */
  readonly all: ReadonlyMap<string, string>;
  /** Those that roles assumed from the new session inherit. */
  readonly transitive: ReadonlyMap<string, string>;
}

const invalid = (message: string): Judged<never> => refused(400, "InvalidParameterValue", message);

/** Keys are compared without case, as STS does. */
export function judgeTags(
  requested: readonly (readonly [key: string, value: string])[],
  transitiveKeys: readonly string[],
  inherited: ReadonlyMap<string, string>,
): Judged<SessionTags> {
  const lower = requested.map(([key]) => key.toLowerCase());
  if (new Set(lower).size !== lower.length) {
    return invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.");
  }
  const held = new Set([...inherited.keys()].map((key) => key.toLowerCase()));
  if (lower.some((key) => held.has(key))) {
    return invalid(
      "One of the specified tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
    );
  }
  const wanted = new Set(transitiveKeys.map((key) => key.toLowerCase()));
  for (const key of wanted) {
    if (!lower.includes(key)) {
      return invalid("The specified transitive tag key must be included in the requested tags.");
    }
  }
  const passedOn = requested.filter(([key]) => wanted.has(key.toLowerCase()));
  return granted({
    all: new Map([...inherited, ...requested]),
    transitive: new Map([...inherited, ...passedOn]),
  });
}
