/**
 * The `gcloud` commands that a configuration needs once, as text for an operator to read and run.
 * Pure. Owns what must exist at Google for this provider; runs nothing.
 */
import { type GoogleWifOptions, projectOf } from "./options.ts";

const LONGEST_WITHOUT_POLICY_SEC = 3_600;
/** Stand for what only the platform that signs the tokens knows. */
const UNKNOWN_ISSUER = "ISSUER_OF_THE_TOKENS";
const UNKNOWN_SUBJECT = "SUBJECT_OF_THE_TOKENS";

/** Lines of a shell script: comments, and commands of one line each. `jwksFile`: where `google jwks` was saved. */
export function setupCommands(options: GoogleWifOptions, jwksFile: string): string[] {
  const { projectNumber, pool, provider } = partsOf(options.audience);
  const place = [`--project=${projectNumber}`, "--location=global"];
  const jwt = "jwt" in options.subjectToken ? options.subjectToken.jwt : undefined;
  const lines = [
    "# Once for each project",
    command(
      "services enable iam.googleapis.com iamcredentials.googleapis.com sts.googleapis.com".split(
        " ",
      ),
      `--project=${projectNumber}`,
    ),
    "# The pool, and the provider that trusts who signs",
    command(["iam", "workload-identity-pools", "create", pool], ...place),
    command(
      ["iam", "workload-identity-pools", "providers", "create-oidc", provider],
      ...place,
      `--workload-identity-pool=${pool}`,
      `--issuer-uri=${jwt?.issuer ?? UNKNOWN_ISSUER}`,
      "--attribute-mapping=google.subject=assertion.sub",
      ...(jwt?.audience === undefined ? [] : [`--allowed-audiences=${jwt.audience}`]),
      ...(jwt === undefined ? [] : [`--jwk-json-path=${jwksFile}`]),
    ),
  ];
  if (jwt !== undefined) {
    lines.push(
      "# After the signing key has been replaced",
      command(
        ["iam", "workload-identity-pools", "providers", "update-oidc", provider],
        ...place,
        `--workload-identity-pool=${pool}`,
        `--jwk-json-path=${jwksFile}`,
      ),
    );
  }
  const principal = `principal:${options.audience.replace(/\/providers\/.*$/, "")}/subject/${jwt?.subject ?? UNKNOWN_SUBJECT}`;
  return [...lines, ...impersonation(options, principal), ...buckets(options)];
}

function impersonation({ serviceAccount }: GoogleWifOptions, principal: string): string[] {
  if (serviceAccount === undefined) {
    return [`# No service account: grant roles on resources to ${principal}`];
  }
  const lines = ["# Who may impersonate whom"];
  let member = principal;
  let role = "roles/iam.workloadIdentityUser";
  for (const email of [...serviceAccount.delegates, serviceAccount.email]) {
    const project = projectOf(email);
    lines.push(
      command(
        ["iam", "service-accounts", "add-iam-policy-binding", email],
        ...(project === undefined ? [] : [`--project=${project}`]),
        `--role=${role}`,
        `--member=${member}`,
      ),
    );
    member = `serviceAccount:${email}`;
    role = "roles/iam.serviceAccountTokenCreator";
  }
  if (serviceAccount.lifetimeSec > LONGEST_WITHOUT_POLICY_SEC) {
    lines.push(
      `# More than an hour: list ${serviceAccount.email} in the organisation policy constraints/iam.allowServiceAccountCredentialLifetimeExtension`,
    );
  }
  return lines;
}

function buckets({ scopes }: GoogleWifOptions): string[] {
  if (scopes === undefined) return [];
  const names = [...new Set(scopes.map(({ bucket }) => bucket))];
  return [
    "# Access boundaries hold only where access is uniform; the account itself needs its roles on the buckets",
    ...names.map((bucket) =>
      command(["storage", "buckets", "update", `gs://${bucket}`], "--uniform-bucket-level-access"),
    ),
  ];
}

const command = (words: readonly string[], ...flags: string[]): string =>
  ["gcloud", ...words, ...flags].map(shellWord).join(" ");

/** As one word of a POSIX shell. */
const shellWord = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

function partsOf(audience: string) {
  const [, projectNumber = "", pool = "", provider = ""] =
    /\/projects\/(\d+)\/.*\/workloadIdentityPools\/([^/]+)\/providers\/([^/]+)$/.exec(audience) ??
    [];
  return { projectNumber, pool, provider };
}
