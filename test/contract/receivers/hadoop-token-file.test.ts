import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { HADOOP_TOKENS } from "../../../src/protocol/credential.ts";
import { tokenToUrlString } from "../../../src/protocol/hadoop/token.ts";
import { readTokenStorage } from "../../../src/protocol/hadoop/token-storage.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { hadoopTokenFile } from "../../../src/worker-agent/receivers/hadoop-token-file/index.ts";
import { receiverContract } from "../support/credential-receiver-contract.ts";
import { accessKeyOf, awsServing, secretsOf } from "../support/receiver-bench.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

receiverContract(hadoopTokenFile, {
  options: (dir) => ({ path: join(dir, "tokens") }),
  // The identifier is what every reader of a token may see.
  consumerGets: async (environment) => {
    const path = environment.set["HADOOP_TOKEN_FILE_LOCATION"] ?? "";
    if (!existsSync(path)) return undefined;
    const token = readTokenStorage(readFileSync(path)).tokens.get("ha-hdfs:ns1");
    return token && Buffer.from(token.identifier).toString("utf8");
  },
  endsByItself: false,
  serving: (clock, n, lifeMs) => {
    const { credential, until } = awsServing(clock, n, lifeMs);
    const urlString = tokenToUrlString({
      identifier: utf8(accessKeyOf(n)),
      password: new Secret(utf8(secretsOf(n).join())),
      kind: "HDFS_DELEGATION_TOKEN",
      service: "ha-hdfs:ns1",
    });
    const material = new Secret({ tokens: [{ alias: "ha-hdfs:ns1", urlString }] });
    return { credential: { ...credential, kind: HADOOP_TOKENS, material }, until };
  },
});
