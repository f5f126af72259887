/** The STS emulator as a process of its own, as system tests start it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, readFile, stat } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { expect, it } from "vitest";

const MAIN = fileURLToPath(new URL("../../src/emulators/aws-sts/main.ts", import.meta.url));

function start(...args: string[]) {
  return spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "ignore"] });
}

it("prints where it is, serves with the key of its file, and leaves nothing at SIGTERM", async () => {
  const child = start("--s3", "--knobs", '{"latencyMs":1}');
  const exited = once(child, "exit");
  try {
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    const { url, s3Url, credentialsFile } = JSON.parse(String(line)) as Record<string, string>;
    expect(s3Url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await stat(credentialsFile ?? "")).mode & 0o777).toBe(0o600);
    const file = await readFile(credentialsFile ?? "", "utf8");
    const client = new STSClient({
      endpoint: url ?? "",
      region: "eu-west-1",
      maxAttempts: 1,
      credentials: {
        accessKeyId: /aws_access_key_id = (\S+)/.exec(file)?.[1] ?? "",
        secretAccessKey: /aws_secret_access_key = (\S+)/.exec(file)?.[1] ?? "",
      },
    });
    const identity = await client.send(new GetCallerIdentityCommand({}));
    expect(identity.Arn).toBe("arn:aws:iam::000000000000:user/base");
    client.destroy();
    const knobs = (await (await fetch(`${url}/_emulator/knobs`)).json()) as { latencyMs: number };
    expect(knobs.latencyMs).toBe(1);
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
    await expect(access(credentialsFile ?? "")).rejects.toMatchObject({ code: "ENOENT" });
  } finally {
    child.kill("SIGKILL");
  }
});

it("ends with an error where its knobs are none", async () => {
  const child = start("--knobs", '{"lifetime":1}');
  const [code] = await once(child, "exit");
  expect(code).toBe(1);
});
