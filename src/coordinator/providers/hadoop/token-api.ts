/**
 * The REST interfaces that hand out, renew and cancel delegation tokens: WebHDFS, the family of
 * `DelegationTokenAuthenticationHandler` (HttpFS, KMS) and the YARN ResourceManager. Owns paths,
 * parameters and answers; refuses to know nodes, logins and plans.
 */
import * as z from "zod";
import { EvergrantError } from "../../../protocol/errors.ts";
import {
  type HadoopToken,
  tokenFromUrlString,
  tokenToUrlString,
} from "../../../protocol/hadoop/token.ts";
import { type EpochMs, epochMs } from "../../../protocol/time.ts";
import type { HttpAnswer, HttpCall } from "./http.ts";
import type { ServiceKind } from "./options.ts";

/** A request before it is addressed and signed. */
export type ApiRequest = Pick<HttpCall, "method" | "body"> & {
  /** Below the node's base address. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
};

export interface IssueOptions {
  readonly renewer: string;
  readonly doAs: string | undefined;
}

/** One interface. Readers throw ISSUER_ANSWER_UNUSABLE for what is not such an answer. */
export interface TokenApi {
  issue(options: IssueOptions): ApiRequest;
  /** @throws ISSUER_REQUEST_INVALID when the cluster issues no tokens, since it is not secured. */
  readIssued(answer: HttpAnswer): { readonly token: HadoopToken; readonly expiresAt?: EpochMs };
  renew(token: HadoopToken): ApiRequest;
  readRenewed(answer: HttpAnswer): EpochMs;
  cancel(token: HadoopToken): ApiRequest;
  /** The status by which it says that the token in the request is gone, where it names no InvalidToken. */
  readonly gone: { readonly renew?: number; readonly cancel?: number };
}

const issuedSchema = z.object({ Token: z.object({ urlString: z.string() }).nullable() });
const renewedSchema = z.object({ long: z.int().min(0) });

function operations(path: string, doAsParameter: string, gone: TokenApi["gone"] = {}): TokenApi {
  const put = (op: string, token: HadoopToken): ApiRequest => ({
    method: "PUT",
    path,
    query: { op, token: tokenToUrlString(token) },
    headers: {},
  });
  return {
    issue: ({ renewer, doAs }) => ({
      method: "GET",
      path,
      query: {
        op: "GETDELEGATIONTOKEN",
        renewer,
        ...(doAs === undefined ? {} : { [doAsParameter]: doAs }),
      },
      headers: {},
    }),
    readIssued: (answer) => {
      const { Token } = read(issuedSchema, answer);
      if (Token === null) {
        const message = "the server issues no delegation tokens: its cluster is not secured";
        throw new EvergrantError("ISSUER_REQUEST_INVALID", message);
      }
      return { token: readToken(Token.urlString) };
    },
    renew: (token) => put("RENEWDELEGATIONTOKEN", token),
    readRenewed: (answer) => epochMs(read(renewedSchema, answer).long),
    cancel: (token) => put("CANCELDELEGATIONTOKEN", token),
    gone,
  };
}

const YARN_PATH = "/ws/v1/cluster/delegation-token";
const yarnIssuedSchema = z.object({ token: z.string(), "expiration-time": z.int().min(0) });
const yarnRenewedSchema = z.object({ "expiration-time": z.int().min(0) });
const yarnHeaders = (token: HadoopToken): Readonly<Record<string, string>> => ({
  accept: "application/json",
  "Hadoop-YARN-RM-Delegation-Token": tokenToUrlString(token),
});

const yarn: TokenApi = {
  gone: { renew: 400, cancel: 400 },
  issue: ({ renewer }) => ({
    method: "POST",
    path: YARN_PATH,
    query: {},
    headers: { accept: "application/json", "content-type": "application/json" },
    body: JSON.stringify({ renewer }),
  }),
  readIssued: (answer) => {
    const issued = read(yarnIssuedSchema, answer);
    return { token: readToken(issued.token), expiresAt: epochMs(issued["expiration-time"]) };
  },
  renew: (token) => ({
    method: "POST",
    path: `${YARN_PATH}/expiration`,
    query: {},
    headers: yarnHeaders(token),
  }),
  readRenewed: (answer) => epochMs(read(yarnRenewedSchema, answer)["expiration-time"]),
  cancel: (token) => ({
    method: "DELETE",
    path: YARN_PATH,
    query: {},
    headers: yarnHeaders(token),
  }),
};

export const TOKEN_APIS: Readonly<Record<ServiceKind, TokenApi>> = {
  webhdfs: operations("/webhdfs/v1/", "doas"),
  httpfs: operations("/webhdfs/v1/", "doAs", { cancel: 404 }),
  kms: operations("/kms/v1/", "doAs", { cancel: 404 }),
  yarn,
};

/** The address of a request at a node. A node's own path (a gateway's) goes before or in place of the usual one. */
export function addressOf(node: URL, { path, query }: ApiRequest): URL {
  const base = node.pathname.replace(/\/+$/, "");
  // A base that already ends as the usual path does, e.g. https://gate/x/webhdfs/v1, is whole.
  const whole = base !== "" && `${base}/`.endsWith(path.endsWith("/") ? path : `${path}/`);
  const url = new URL(node);
  url.pathname = whole ? `${base}/` : `${base}${path}`;
  url.search = new URLSearchParams(query).toString();
  return url;
}

function readToken(urlString: string): HadoopToken {
  try {
    return tokenFromUrlString(urlString);
  } catch (cause) {
    throw new EvergrantError("ISSUER_ANSWER_UNUSABLE", "the server sent a broken token", { cause });
  }
}

function read<T>(schema: z.ZodType<T>, answer: HttpAnswer): T {
  let json: unknown;
  try {
    json = JSON.parse(answer.body);
  } catch {
    json = undefined; // a page of HTML, mostly
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new EvergrantError(
    "ISSUER_ANSWER_UNUSABLE",
    "the server sent something that is no answer of its token interface: check the URL",
    { details: { httpStatus: answer.status, contentType: answer.contentType.slice(0, 60) } },
  );
}
