/** moto's server as an AWS account: IAM, STS and S3, with the AWS CLI as its administrator. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { pythonTools, runTool } from "./python.ts";

export interface KeyPair {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface Moto {
  readonly url: string;
  /** The AWS CLI against this server: the parsed answer of `aws ARGS`. */
  aws(args: readonly string[], keys?: KeyPair): Promise<unknown>;
  /** Whether moto checks signatures and IAM permissions from now on; at first it does not. */
  check(checking: boolean): Promise<void>;
  stop(): Promise<void>;
}

/** What moto takes from anybody as long as it checks nothing. */
const ANYBODY: KeyPair = { accessKeyId: "AKIAANYBODYANYBODY00", secretAccessKey: "anything" };

export async function startMoto(): Promise<Moto> {
  const tools = await pythonTools();
  const { PATH = "" } = process.env;
  const server = spawn(tools.program("moto_server"), ["-H", "127.0.0.1", "-p", "0"], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH, PYTHONUNBUFFERED: "1" },
  });
  const url = await addressOf(server);
  return {
    url,
    async aws(args, keys = ANYBODY) {
      const output = await runTool(
        tools.program("aws"),
        ["--endpoint-url", url, "--region", "eu-west-1", "--output", "json", ...args],
        {
          AWS_ACCESS_KEY_ID: keys.accessKeyId,
          AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
          ...(keys.sessionToken === undefined ? {} : { AWS_SESSION_TOKEN: keys.sessionToken }),
          AWS_CONFIG_FILE: "/nonexistent",
          AWS_SHARED_CREDENTIALS_FILE: "/nonexistent",
          AWS_EC2_METADATA_DISABLED: "true",
        },
      );
      return output.trim() === "" ? undefined : JSON.parse(output);
    },
    async check(checking) {
      // The number of actions that it lets pass unchecked.
      const body = checking ? "0" : "inf";
      const answer = await fetch(`${url}/moto-api/reset-auth`, { method: "POST", body });
      if (!answer.ok) throw new Error(`moto answered ${answer.status}`);
    },
    async stop() {
      if (server.exitCode !== null || server.signalCode !== null) return;
      const ended = once(server, "exit");
      server.kill("SIGTERM");
      await ended;
    },
  };
}

/** What it says once it listens; it picks a free port. */
async function addressOf(server: ChildProcess): Promise<string> {
  const said: string[] = [];
  if (server.stderr === null) throw new Error("moto_server has no standard error");
  server.stdout?.resume();
  for await (const line of createInterface(server.stderr)) {
    said.push(line);
    const url = /Running on (http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1];
    if (url !== undefined) {
      server.stderr.resume();
      return url;
    }
  }
  throw new Error(`moto_server did not start: ${said.slice(-20).join("\n")}`);
}
