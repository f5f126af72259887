/**
 * What the metadata server of a virtual machine says at each path, as far as Google's clients ask
 * (delivery.md, 4.2). Pure: from a path, a query and facts to an answer. Holds no token.
 */

/** What is known about the identity. No secret. */
export interface MetadataFacts {
  /** Undefined: a federated identity, which has none. */
  readonly email: string | undefined;
  readonly scopes: readonly string[];
  readonly projectId: string | undefined;
  readonly numericProjectId: string | undefined;
  readonly universeDomain: string;
}

export type MetadataAnswer =
  | { readonly kind: "text" | "json"; readonly body: string }
  | { readonly kind: "token" }
  /** To the same path with a slash at its end. */
  | { readonly kind: "redirect"; readonly location: string }
  | { readonly kind: "not-found"; readonly why: string };

const PREFIX = "/computeMetadata/v1";
/** What a service account is called where it has no address. */
export const NO_EMAIL = "default";

const NO_IDENTITY =
  "ID tokens are not served here: this agent has an OAuth access token only. Use an audience-bound token of another source.";
const NOTHING = "There is nothing at this path.";

const text = (body: string): MetadataAnswer => ({ kind: "text", body });
const json = (value: unknown): MetadataAnswer => ({ kind: "json", body: JSON.stringify(value) });
const notFound = (why = NOTHING): MetadataAnswer => ({ kind: "not-found", why });
const optional = (value: string | undefined): MetadataAnswer =>
  value === undefined ? notFound("This is not known here.") : text(value);

/** Whether any answer at this path needs the facts of a credential; the others can be had at once. */
export const needsCredential = (path: string): boolean =>
  path.startsWith(`${PREFIX}/instance/service-accounts`);

export function answerAt(
  path: string,
  query: URLSearchParams,
  facts: MetadataFacts,
): MetadataAnswer {
  if (path === "/") return text("computeMetadata/\n");
  const recursive = query.get("recursive")?.toLowerCase() === "true";
  if (path === PREFIX || (path.startsWith(`${PREFIX}/`) && isBareFolder(path))) {
    const rest = query.size === 0 ? "" : `?${query}`;
    return { kind: "redirect", location: `${path}/${rest}` };
  }
  const inside = path.startsWith(`${PREFIX}/`) ? path.slice(PREFIX.length) : undefined;
  switch (inside) {
    case undefined:
      return notFound();
    case "/":
      return recursive ? json(wholeTree(facts)) : text("instance/\nproject/\nuniverse/\n");
    // Without its slash, this is how Node asks whether there is a metadata server.
    case "/instance":
    case "/instance/":
      return recursive ? json(instanceTree(facts)) : text("service-accounts/\n");
    case "/instance/service-accounts/":
      if (recursive) return json(accounts(facts));
      return text(`${names(facts).join("/\n")}/\n`);
    case "/project/":
      return recursive ? json(projectTree(facts)) : text("numeric-project-id\nproject-id\n");
    case "/project/project-id":
      return optional(facts.projectId);
    case "/project/numeric-project-id":
      return optional(facts.numericProjectId);
    case "/universe/":
      return recursive ? json(universeTree(facts)) : text("universe-domain\n");
    case "/universe/universe-domain":
    case "/universe/universe_domain":
      return text(facts.universeDomain);
    default:
      return accountAt(inside, recursive, facts);
  }
}

const FOLDERS = /^\/computeMetadata\/v1\/(project|universe|instance\/service-accounts(\/[^/]+)?)$/;
const isBareFolder = (path: string): boolean => FOLDERS.test(path);

function accountAt(inside: string, recursive: boolean, facts: MetadataFacts): MetadataAnswer {
  const [, encoded, leaf] = /^\/instance\/service-accounts\/([^/]+)\/([a-z]*)$/.exec(inside) ?? [];
  if (encoded === undefined || leaf === undefined) return notFound();
  if (!names(facts).includes(decoded(encoded))) return notFound("There is no such account here.");
  switch (leaf) {
    case "":
      if (recursive) return json(accountInfo(facts));
      return text("aliases\nemail\nidentity\nscopes\ntoken\n");
    case "token":
      return { kind: "token" };
    case "email":
      return text(facts.email ?? NO_EMAIL);
    case "scopes":
      return text(facts.scopes.map((scope) => `${scope}\n`).join(""));
    case "aliases":
      return text("default\n");
    case "identity":
      return notFound(NO_IDENTITY);
    default:
      return notFound();
  }
}

const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
};

const names = ({ email }: MetadataFacts): string[] =>
  email === undefined ? ["default"] : ["default", email];

const accountInfo = ({ email, scopes }: MetadataFacts) => ({
  aliases: ["default"],
  email: email ?? NO_EMAIL,
  scopes,
});
const accounts = (facts: MetadataFacts) =>
  Object.fromEntries(names(facts).map((name) => [name, accountInfo(facts)]));
const instanceTree = (facts: MetadataFacts) => ({ serviceAccounts: accounts(facts) });
const projectTree = ({ projectId, numericProjectId }: MetadataFacts) => ({
  ...(numericProjectId === undefined ? {} : { numericProjectId: Number(numericProjectId) }),
  ...(projectId === undefined ? {} : { projectId }),
});
const universeTree = ({ universeDomain }: MetadataFacts) => ({ universeDomain });
const wholeTree = (facts: MetadataFacts) => ({
  instance: instanceTree(facts),
  project: projectTree(facts),
  universe: universeTree(facts),
});
