/**
 * Session policies and their packed size. Owns the grammar that STS refuses a policy for; it does not
 * evaluate policies: the emulated resources grant whatever a live credential asks.
 */
import { granted, type Judged, refused } from "../shared/refusal.ts";

/** Inline policy and managed ARNs together, in characters. */
const MOST_PLAINTEXT = 2048;

export interface PolicySet {
  readonly policy?: string;
  readonly policyArns: readonly string[];
  readonly tags: ReadonlyMap<string, string>;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Why a policy text is not one; undefined when it is. */
function grammarFault(text: string): string | undefined {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return "This policy contains invalid Json";
  }
  if (!isObject(document)) return "Syntax errors in policy.";
  const version = document["Version"];
  if (version !== undefined && version !== "2012-10-17" && version !== "2008-10-17") {
    return "The policy must contain a valid version string";
  }
  const listed = document["Statement"];
  const statements: readonly unknown[] = Array.isArray(listed) ? listed : [listed];
  if (statements.length === 0) return "Syntax errors in policy.";
  for (const statement of statements) {
    if (!isObject(statement)) return "Syntax errors in policy.";
    const { Effect, Action, NotAction, Resource, NotResource, Principal } = statement;
    if (Effect !== "Allow" && Effect !== "Deny") return "Syntax errors in policy.";
    if (Action === undefined && NotAction === undefined) {
      return "Policy statement must contain actions.";
    }
    if (Resource === undefined && NotResource === undefined) {
      return "Policy statement must contain resources.";
    }
    if (Principal !== undefined) return "Policy document should not specify a principal.";
  }
  return undefined;
}

/**
 * The packed size in percent, undefined when there is nothing to pack. AWS documents its packing as
 * opaque; here it is the characters of the minified policy, the ARNs and the tags against `packedLimit`.
 */
export function judgePolicies(set: PolicySet, packedLimit: number): Judged<number | undefined> {
  const fault = set.policy === undefined ? undefined : grammarFault(set.policy);
  if (fault !== undefined) return refused(400, "MalformedPolicyDocument", fault);
  const arns = set.policyArns.join("").length;
  if ((set.policy?.length ?? 0) + arns > MOST_PLAINTEXT) return tooLarge(100, MOST_PLAINTEXT);
  if (set.policy === undefined && arns === 0 && set.tags.size === 0) return granted(undefined);
  const minified = set.policy === undefined ? 0 : JSON.stringify(JSON.parse(set.policy)).length;
  const tags = [...set.tags].flat().join("").length;
  const percent = Math.ceil((100 * (minified + arns + tags)) / packedLimit);
  return percent > 100 ? tooLarge(percent, packedLimit) : granted(percent);
}

function tooLarge(percent: number, limit: number): Judged<never> {
  const message =
    percent > 100
      ? `Packed policy consumes ${percent}% of allotted space, please use smaller policy.`
      : `The plaintext of all session policies can't exceed ${limit} characters.`;
  return refused(400, "PackedPolicyTooLarge", message);
}
