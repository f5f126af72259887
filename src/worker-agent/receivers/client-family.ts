/**
 * The family of a client's software from its user agent: a label of bounded cardinality for
 * metrics (delivery.md, section 7.9). Refuses to let free text become a label.
 */
const FAMILIES: readonly (readonly [RegExp, string])[] = [
  [/aws-cli/i, "aws-cli"],
  [/boto/i, "botocore"],
  [/aws-sdk-js|aws-sdk-nodejs/i, "aws-sdk-js"],
  [/aws-sdk-java/i, "aws-sdk-java"],
  [/aws-sdk-kotlin/i, "aws-sdk-kotlin"],
  [/aws-sdk-go/i, "aws-sdk-go"],
  [/aws-sdk-rust/i, "aws-sdk-rust"],
  [/aws-sdk-(dotnet|net)/i, "aws-sdk-dotnet"],
  [/aws-sdk-(cpp|crt)|mountpoint/i, "aws-sdk-cpp"],
  [/^curl\//i, "curl"],
  [/^java\//i, "java"],
  [/^go-http-client\//i, "go"],
  [/python/i, "python"],
];

/** One of a closed set; `none` without a user agent (the JavaScript SDK sends none), `other` for the rest. */
export function clientFamily(userAgent: string | undefined): string {
  if (userAgent === undefined || userAgent === "") return "none";
  return FAMILIES.find(([pattern]) => pattern.test(userAgent))?.[1] ?? "other";
}
