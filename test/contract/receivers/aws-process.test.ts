import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../src/runtime/system-clock.ts";
import type { CredentialReceiver } from "../../../src/worker-agent/ports/credential-receiver.ts";
import { credentialProcess } from "../../../src/worker-agent/receivers/aws-process/credential-process-client.ts";
import { awsProcessFactory } from "../../../src/worker-agent/receivers/aws-process/index.ts";
import { credentialProcessCommand } from "../../../src/worker-agent/receivers/aws-process/profile-file.ts";
import { MAX_SOCKET_PATH_BYTES } from "../../../src/worker-agent/receivers/aws-process/socket-place.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { runToEnd } from "../support/aws-consumers.ts";
import {
  accessKeyOf,
  awsServing,
  type ReceiverBench,
  receiverBench,
} from "../support/receiver-bench.ts";

async function started(
  bench: ReceiverBench,
  options: Readonly<Record<string, unknown>>,
): Promise<CredentialReceiver> {
  const receiver = awsProcessFactory.create(
    awsProcessFactory.options.parse(options),
    bench.services,
  );
  await receiver.start();
  onTestFinished(() => receiver.stop());
  return receiver;
}

const curl = (socket: string) => runToEnd("sh", ["-c", credentialProcessCommand(socket, "curl")]);

/** What `evergrant credential-process --socket` does. */
async function client(
  socket: string,
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  let stdout = "";
  let stderr = "";
  const exitCode = await credentialProcess({
    socket,
    clock: systemClock,
    stdout: (text) => {
      stdout += text;
    },
    stderr: (text) => {
      stderr += text;
    },
  });
  return { exitCode, stdout, stderr };
}

const DOCUMENT = {
  Version: 1,
  AccessKeyId: accessKeyOf(1),
  SecretAccessKey: "secret-key-1-hush",
  SessionToken: "session-token-1-hush",
  Expiration: "2026-01-01T01:00:00Z",
  AccountId: "123456789012",
};

test("curl and the command print the document that SDKs take, and nothing else", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const socket = join(bench.dir, "a folder", "s.sock");
  const receiver = await started(bench, { socket });
  await receiver.apply(awsServing(clock, 1));
  for (const end of [await curl(socket), await client(socket)]) {
    expect(end).toMatchObject({ exitCode: 0, stderr: "" });
    expect(JSON.parse(end.stdout)).toEqual(DOCUMENT);
  }
  expect(bench.requests.map(({ outcome }) => outcome)).toEqual(["probe", "served", "served"]);
});

test("without a credential both print nothing, say why on standard error, and fail", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const socket = join(bench.dir, "s.sock");
  const receiver = await started(bench, { socket, holdMs: 0 });
  expect(await curl(socket)).toMatchObject({ exitCode: 22, stdout: "" });
  expect(await client(socket)).toEqual({
    exitCode: 1,
    stdout: "",
    stderr:
      "evergrant credential-process: [RECEIVER_FAILED] The agent has not received its first credential yet. (CredentialNotReady)\n",
  });
  await receiver.apply(awsServing(clock, 1, 1000));
  clock.advance(1000);
  expect(await curl(socket)).toMatchObject({ exitCode: 22, stdout: "" });
  expect((await client(socket)).stderr).toContain("CredentialExpired");
});

test("without an agent the command fails with a message, also when something else answers", async () => {
  const { dir } = receiverBench(new ManualClock());
  const socket = join(dir, "s.sock");
  expect(await client(socket)).toMatchObject({
    exitCode: 1,
    stdout: "",
    stderr: expect.stringContaining("cannot be reached (ENOENT)"),
  });
  const other = createServer(
    (end) => void end.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
  );
  await new Promise<void>((resolve) => other.listen(socket, resolve));
  onTestFinished(() => void other.close());
  expect(await client(socket)).toMatchObject({
    exitCode: 1,
    stdout: "",
    stderr: expect.stringContaining("no evergrant agent (HTTP 200)"),
  });
});

test("the socket has mode 0600 in a folder of mode 0700, and is gone after a stop", async () => {
  const bench = receiverBench(new ManualClock());
  const socket = join(bench.dir, "private", "s.sock");
  const umask = process.umask(0);
  const receiver = await started(bench, { socket }).finally(() => process.umask(umask));
  expect(statSync(socket).mode & 0o777).toBe(0o600);
  expect(statSync(dirname(socket)).mode & 0o777).toBe(0o700);
  await receiver.stop();
  expect(existsSync(socket)).toBe(false);
});

test("the socket of a killed process is replaced", async () => {
  const bench = receiverBench(new ManualClock());
  const socket = join(bench.dir, "s.sock");
  const script = `require("net").createServer().listen(${JSON.stringify(socket)})`;
  const dead = spawn(process.execPath, ["-e", script]);
  await eventually(() => existsSync(socket));
  dead.kill("SIGKILL");
  await once(dead, "exit");
  expect(existsSync(socket)).toBe(true);
  const receiver = await started(bench, { socket });
  await receiver.apply(awsServing(bench.services.clock, 1));
  expect((await curl(socket)).exitCode).toBe(0);
});

test("the socket of a living process is left alone, and the start fails", async () => {
  const bench = receiverBench(new ManualClock());
  const socket = join(bench.dir, "s.sock");
  const first = await started(bench, { socket });
  await expect(started(bench, { socket })).rejects.toMatchObject({
    code: "RECEIVER_FAILED",
    message: expect.stringContaining(`a living process serves ${socket}`),
  });
  await first.apply(awsServing(bench.services.clock, 1));
  expect((await curl(socket)).exitCode).toBe(0);
});

test("a file that is no socket is not removed", async () => {
  const bench = receiverBench(new ManualClock());
  const socket = join(bench.dir, "precious");
  writeFileSync(socket, "precious");
  await expect(started(bench, { socket })).rejects.toMatchObject({
    message: expect.stringContaining("is no socket: remove it"),
  });
  expect(readFileSync(socket, "utf8")).toBe("precious");
});

test("a folder that anybody may write to is refused", async () => {
  const bench = receiverBench(new ManualClock());
  const open = join(bench.dir, "open");
  mkdirSync(open);
  chmodSync(open, 0o777);
  await expect(started(bench, { socket: join(open, "s.sock") })).rejects.toMatchObject({
    message: expect.stringContaining("a folder of this user that others cannot write to"),
  });
});

test("a configured path that the kernel would cut is refused with both lengths", async () => {
  const bench = receiverBench(new ManualClock());
  const socket = `/tmp/${"x".repeat(MAX_SOCKET_PATH_BYTES)}`;
  await expect(started(bench, { socket })).rejects.toMatchObject({
    code: "RECEIVER_FAILED",
    message: expect.stringContaining(
      `has ${socket.length} bytes and the system takes ${MAX_SOCKET_PATH_BYTES}`,
    ),
  });
});

test("where the state folder's path is too long, the socket has a short one, the same in each run", async () => {
  const clock = new ManualClock();
  const outer = receiverBench(clock);
  const stateDir = join(outer.dir, "x".repeat(120));
  const bench: ReceiverBench = { ...outer, services: { ...outer.services, stateDir } };
  const configFile = join(bench.dir, "config");
  const commands: string[] = [];
  for (const n of [1, 2]) {
    const receiver = await started(bench, { configFile });
    await receiver.apply(awsServing(clock, n));
    const command =
      /^credential_process = (.*)$/m.exec(readFileSync(configFile, "utf8"))?.[1] ?? "";
    expect((await runToEnd("sh", ["-c", command])).stdout).toContain(accessKeyOf(n));
    commands.push(command);
    await receiver.stop();
  }
  expect(commands[1]).toBe(commands[0]);
});

test("the written profile names the command and the region of the credential", async () => {
  const clock = new ManualClock();
  const bench = receiverBench(clock);
  const socket = join(bench.dir, "s.sock");
  const configFile = join(bench.dir, "aws", "config");
  const options = { socket, configFile, profile: "lake", command: "evergrant" };
  const receiver = await started(bench, options);
  expect(readFileSync(configFile, "utf8")).not.toContain("region");
  await receiver.apply(awsServing(clock, 1));
  expect(readFileSync(configFile, "utf8")).toBe(
    [
      "# Written by evergrant, and written over by it.",
      "[profile lake]",
      `credential_process = evergrant credential-process --socket ${socket}`,
      "region = eu-west-1",
      "",
    ].join("\n"),
  );
});

test.each(["/run/a;b", "/run/$(id)", '/run/"', "/run/a#b", "relative"])(
  "the socket path %j, which a shell or an ini file would read otherwise, is refused",
  (socket) => {
    expect(awsProcessFactory.options.safeParse({ socket }).success).toBe(false);
  },
);

test("curl is there, since the documented form needs it", () => {
  expect(spawnSync("curl", ["--version"]).status).toBe(0);
});
