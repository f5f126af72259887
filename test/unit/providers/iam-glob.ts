/**
 * Just enough of IAM to judge what a session policy grants: actions, resources, StringLike on
 * s3:prefix, wildcards and the escapes of literal ones. Written from IAM's documentation, apart
 * from the code that makes policies.
 */
import type { PolicyDocument } from "../../../src/coordinator/providers/aws-sts/session-policy.ts";

/** Whether IAM's pattern takes the text: `*` any run, `?` one character, `${*}` the character itself. */
export function iamMatches(pattern: string, text: string): boolean {
  const tokens = pattern.match(/\$\{[^}]*\}|[\s\S]/g) ?? [];
  const source = tokens.map((token) => {
    if (token === "*") return "[\\s\\S]*";
    if (token === "?") return "[\\s\\S]";
    const literal = /^\$\{([*?$])\}$/.exec(token)?.[1];
    if (token.length > 1 && literal === undefined) return "(?!)";
    return (literal ?? token).replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  });
  return new RegExp(`^${source.join("")}$`).test(text);
}

export interface IamRequest {
  readonly action: string;
  readonly resource: string;
  readonly prefix?: string;
}

const listOf = (value: string | readonly string[]): readonly string[] => [value].flat();

/** Whether the policy allows the request, an explicit Deny first. */
export function iamAllows({ Statement }: PolicyDocument, request: IamRequest): boolean {
  const meant = Statement.filter(({ Action, Resource, Condition }) => {
    const like = Condition?.["StringLike"] as Record<string, string[]> | undefined;
    return (
      listOf(Action).some((action) => iamMatches(action, request.action)) &&
      listOf(Resource).some((resource) => iamMatches(resource, request.resource)) &&
      (like === undefined ||
        (like["s3:prefix"] ?? []).some((glob) => iamMatches(glob, request.prefix ?? "")))
    );
  });
  return meant.length > 0 && meant.every(({ Effect }) => Effect === "Allow");
}
