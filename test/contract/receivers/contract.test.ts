import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { awsContainerFactory } from "../../../src/worker-agent/receivers/aws-container/index.ts";
import { awsProcessFactory } from "../../../src/worker-agent/receivers/aws-process/index.ts";
import { execFactory } from "../../../src/worker-agent/receivers/exec/index.ts";
import { fileFactory } from "../../../src/worker-agent/receivers/file/index.ts";
import { getFromEndpoint, runToEnd } from "../support/aws-consumers.ts";
import { receiverContract } from "../support/credential-receiver-contract.ts";

const accessKeyIn = (json: string): string =>
  (JSON.parse(json) as { AccessKeyId: string }).AccessKeyId;

receiverContract(awsContainerFactory, {
  options: () => ({}),
  consumerGets: async (environment) => {
    const answer = await getFromEndpoint(environment);
    return answer.status === 200 ? accessKeyIn(answer.body) : undefined;
  },
  endsByItself: true,
});

receiverContract(awsProcessFactory, {
  options: (dir) => ({ socket: join(dir, "private", "s.sock"), configFile: join(dir, "config") }),
  consumerGets: async (environment) => {
    const config = readFileSync(environment.set["AWS_CONFIG_FILE"] ?? "", "utf8");
    const command = /^credential_process = (.*)$/m.exec(config)?.[1] ?? "";
    const end = await runToEnd("sh", ["-c", command]);
    return end.exitCode === 0 ? accessKeyIn(end.stdout) : undefined;
  },
  endsByItself: true,
});

const field = (inside: string): string => `\${${inside}}`;
const contentOf = (path: string): string | undefined =>
  existsSync(path) ? readFileSync(path, "utf8") : undefined;

receiverContract(fileFactory, {
  options: (dir) => ({
    path: join(dir, "out", "key"),
    template: `${field("material.accessKeyId")}${field("material.sessionToken|jsonText")}`,
  }),
  consumerGets: async (_environment, dir) => contentOf(join(dir, "out", "key"))?.slice(0, 20),
  endsByItself: false,
});

receiverContract(execFactory, {
  options: (dir) => {
    const hook = join(dir, "hook.sh");
    const script = [
      "#!/bin/sh",
      `[ -e ${dir}/broken ] && { cat >&2; exit 3; }`,
      `[ "$EVERGRANT_EVENT" = withdrawn ] && { rm -f ${dir}/got; exit 0; }`,
      `sed 's/.*"accessKeyId":"\\([A-Z0-9]*\\)".*/\\1/' > ${dir}/got`,
    ];
    writeFileSync(hook, `${script.join("\n")}\n`);
    chmodSync(hook, 0o700);
    return { command: [hook], onWithdraw: [hook] };
  },
  consumerGets: async (_environment, dir) => contentOf(join(dir, "got"))?.trim(),
  endsByItself: false,
  judgesMaterial: false,
  breakIt: (dir) => writeFileSync(join(dir, "broken"), ""),
});
