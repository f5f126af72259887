/**
 * The limits of request parameters, as botocore's service model of STS states them
 * (data/sts/2011-06-15/service-2.json). All violations of one request are reported together.
 */
import { granted, type Judged, refused } from "../shared/refusal.ts";
import { listOf, type QueryParameters, recordsOf } from "./parameters.ts";

export const ROLE_DURATION_SEC = { min: 900, max: 43_200, default: 3_600 } as const;
export const SESSION_DURATION_SEC = { min: 900, max: 129_600, default: 43_200 } as const;
/** The cap of role chaining: AssumeRole signed with the credential of an assumed role. */
export const CHAINED_MAX_SEC = 3_600;

interface TextLimit {
  readonly min: number;
  readonly max: number;
  readonly pattern?: RegExp;
  readonly required?: boolean;
  /** The value must not appear in the error text. */
  readonly secret?: boolean;
}

const NAME = /^[\w+=,.@-]*$/;
const TEXT_LIMITS: Readonly<Record<string, TextLimit>> = {
  RoleArn: { min: 20, max: 2048, pattern: /^[\t\n\r\u0020-\u00FF]+$/ },
  RoleSessionName: { min: 2, max: 64, pattern: NAME },
  Policy: { min: 1, max: 2048, pattern: /^[\t\n\r\u0020-\u00FF]+$/ },
  ExternalId: { min: 2, max: 1224, pattern: /^[\w+=,.@:/-]*$/ },
  SourceIdentity: { min: 2, max: 64, pattern: NAME },
  SerialNumber: { min: 9, max: 256, pattern: /^[\w+=/:,.@-]*$/ },
  TokenCode: { min: 6, max: 6, pattern: /^\d*$/ },
  WebIdentityToken: { min: 4, max: 20_000, secret: true },
};
const TAG_KEY: TextLimit = { min: 1, max: 128, pattern: /^[\p{L}\p{Z}\p{N}_.:/=+\-@]+$/u };
const TAG_VALUE: TextLimit = { min: 0, max: 256, pattern: /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u };
const POLICY_ARN: TextLimit = { min: 20, max: 2048 };
const MOST_POLICY_ARNS = 10;
const MOST_TAGS = 50;

const memberName = (parameter: string): string =>
  parameter.charAt(0).toLowerCase() + parameter.slice(1);

function textFaults(at: string, value: string, limit: TextLimit): string[] {
  const faults: string[] = [];
  const must = (what: string): void => {
    const shown = limit.secret === true ? "(not shown)" : value;
    faults.push(`Value '${shown}' at '${at}' failed to satisfy constraint: Member must ${what}`);
  };
  if (value.length < limit.min) must(`have length greater than or equal to ${limit.min}`);
  if (value.length > limit.max) must(`have length less than or equal to ${limit.max}`);
  if (limit.pattern && value !== "" && !limit.pattern.test(value)) {
    must(`satisfy regular expression pattern: ${limit.pattern.source}`);
  }
  return faults;
}

function countFaults(at: string, count: number, most: number): string[] {
  if (count <= most) return [];
  return [
    `Value at '${at}' failed to satisfy constraint: Member must have length less than or equal to ${most}`,
  ];
}

/** What one action takes. */
export interface ActionLimits {
  readonly required: readonly string[];
  readonly durationSec: { readonly min: number; readonly max: number; readonly default: number };
}

/** The checked duration in seconds, or one ValidationError that names every violation. */
export function judgeParameters(parameters: QueryParameters, limits: ActionLimits): Judged<number> {
  const faults: string[] = [];
  for (const name of limits.required) {
    if (!parameters.has(name)) {
      faults.push(
        `Value null at '${memberName(name)}' failed to satisfy constraint: Member must not be null`,
      );
    }
  }
  for (const [name, limit] of Object.entries(TEXT_LIMITS)) {
    const value = parameters.get(name);
    if (value !== undefined) faults.push(...textFaults(memberName(name), value, limit));
  }
  const arns = recordsOf(parameters, "PolicyArns", ["arn"]);
  faults.push(...countFaults("policyArns", arns.length, MOST_POLICY_ARNS));
  for (const [index, { arn = "" }] of arns.entries()) {
    faults.push(...textFaults(`policyArns.${index + 1}.member.arn`, arn, POLICY_ARN));
  }
  const tags = recordsOf(parameters, "Tags", ["Key", "Value"]);
  faults.push(...countFaults("tags", tags.length, MOST_TAGS));
  for (const [index, { Key = "", Value = "" }] of tags.entries()) {
    faults.push(...textFaults(`tags.${index + 1}.member.key`, Key, TAG_KEY));
    faults.push(...textFaults(`tags.${index + 1}.member.value`, Value, TAG_VALUE));
  }
  const transitive = listOf(parameters, "TransitiveTagKeys");
  faults.push(...countFaults("transitiveTagKeys", transitive.length, MOST_TAGS));
  const durationSec = judgeDuration(parameters.get("DurationSeconds"), limits.durationSec, faults);
  if (faults.length === 0) return granted(durationSec);
  const count = `${faults.length} validation error${faults.length === 1 ? "" : "s"} detected: `;
  return refused(400, "ValidationError", count + faults.join("; "));
}

function judgeDuration(
  text: string | undefined,
  limit: ActionLimits["durationSec"],
  faults: string[],
): number {
  if (text === undefined) return limit.default;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  const must = (what: string): void => {
    faults.push(
      `Value '${text}' at 'durationSeconds' failed to satisfy constraint: Member must ${what}`,
    );
  };
  if (Number.isNaN(value)) must("be an integer");
  if (value < limit.min) must(`have value greater than or equal to ${limit.min}`);
  if (value > limit.max) must(`have value less than or equal to ${limit.max}`);
  return value;
}
