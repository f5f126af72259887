/** Consumers of the AWS conventions, as plain as can be: what the SDKs do on the wire. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { promisify } from "node:util";
import type { ConsumerEnvironment } from "../../../src/worker-agent/ports/credential-receiver.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** The endpoint's address and token, taken from the environment as an SDK takes them. */
export function endpointOf(environment: ConsumerEnvironment): { url: URL; token: string } {
  const { set } = environment;
  const file = set["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
  return {
    url: new URL(set["AWS_CONTAINER_CREDENTIALS_FULL_URI"] ?? "missing:"),
    token:
      file === undefined
        ? (set["AWS_CONTAINER_AUTHORIZATION_TOKEN"] ?? "")
        : readFileSync(file, "utf8"),
  };
}

/** One GET, as an SDK does it. */
export function getFromEndpoint(
  environment: ConsumerEnvironment,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const { url, token } = endpointOf(environment);
  return new Promise((resolve, reject) => {
    const call = request(url, { headers: { authorization: token, ...headers }, agent: false });
    call.once("error", reject);
    call.once("response", (reply) => {
      let body = "";
      reply.setEncoding("utf8");
      reply.on("data", (part: string) => {
        body += part;
      });
      reply.once("end", () => {
        resolve({ status: reply.statusCode ?? 0, headers: reply.headers, body });
      });
    });
    call.end();
  });
}

/** Sends these bytes to the endpoint and resolves to all that comes back until it closes. */
export function rawExchange(environment: ConsumerEnvironment, bytes: string): Promise<string> {
  const { url } = endpointOf(environment);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(url.port), url.hostname);
    let answer = "";
    socket.setEncoding("latin1");
    socket.on("data", (part: string) => {
      answer += part;
    });
    socket.once("error", reject);
    socket.once("close", () => resolve(answer));
    socket.write(bytes, "latin1");
  });
}

export interface CommandEnd {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; a non-zero exit code is no rejection. */
export async function runToEnd(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<CommandEnd> {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, { env });
    return { exitCode: 0, stdout, stderr };
  } catch (error) {
    const end = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof end.code !== "number") throw error;
    return { exitCode: end.code, stdout: end.stdout ?? "", stderr: end.stderr ?? "" };
  }
}
