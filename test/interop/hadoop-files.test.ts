/** Token files, exchanged with Hadoop's own `dtutil`. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseHadoopTokenFile } from "../../src/coordinator/providers/exec/hadoop-token-file.ts";
import { identifierOf } from "../../src/protocol/hadoop/identifier.ts";
import { relabel, sameGrant, tokenFromUrlString } from "../../src/protocol/hadoop/token.ts";
import { readTokenStorage, writeTokenStorage } from "../../src/protocol/hadoop/token-storage.ts";
import { Secret } from "../../src/protocol/secret.ts";
import { type Finished, runProgram } from "./support/foreground.ts";
import { hadoopJars } from "./support/hadoop-jars.ts";
import { DT_UTIL } from "./support/hdfs.ts";

const vectors = JSON.parse(
  readFileSync(new URL("../vectors/hdts-vectors.json", import.meta.url), "utf8"),
) as { readonly urlString: string; readonly fileV0: string };
const token = tokenFromUrlString(vectors.urlString);
const dir = mkdtempSync(join(tmpdir(), "evergrant-dtutil-"));
let jars: string;

beforeAll(async () => {
  jars = await hadoopJars();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function dtutil(...args: string[]): Promise<Finished> {
  const done = await runProgram("java", ["-Xmx200m", "-cp", `${jars}/*`, DT_UTIL, ...args]);
  expect(done, done.stderr).toMatchObject({ status: 0 });
  return done;
}

test("dtutil prints what we write, in both versions, under alias, service, renewer and owner", async () => {
  const storage = {
    tokens: new Map([
      ["ha-hdfs:nameservice1", token],
      ["ha-webhdfs:nameservice1", relabel(token, { kind: "WEBHDFS delegation" })],
      ["hbase", { ...token, kind: "HBASE_AUTH_TOKEN", identifier: Uint8Array.of(8, 1) }],
    ]),
    secrets: new Map([["my.secret", new Secret(Uint8Array.of(1, 2, 3))]]),
  };
  for (const version of [0, 1] as const) {
    const file = join(dir, `ours-v${version}`);
    writeFileSync(file, writeTokenStorage(storage, version));
    const { stdout } = await dtutil("print", file);
    expect(stdout).toMatch(/HDFS_DELEGATION_TOKEN +ha-hdfs:nameservice1 +renewer/);
    expect(stdout).toMatch(/WEBHDFS delegation/);
    expect(stdout).toMatch(/HBASE_AUTH_TOKEN/);
  }
});

test("we read what dtutil writes, protobuf and java, byte for byte, and it reads it back from us", async () => {
  const protobuf = join(dir, "imported");
  await dtutil("import", vectors.urlString, protobuf);
  expect(readFileSync(protobuf)[4]).toBe(1);
  const java = join(dir, "appended");
  writeFileSync(java, Buffer.from(vectors.fileV0, "base64"));
  await dtutil("append", "-format", "java", protobuf, java);
  expect(readFileSync(java)[4]).toBe(0);
  for (const file of [protobuf, java]) {
    const { tokens } = readTokenStorage(readFileSync(file));
    const found = tokens.get("ha-hdfs:nameservice1");
    expect(found !== undefined && sameGrant(found, token)).toBe(true);
    expect(found && identifierOf(found)?.owner).toBe("alice@EXAMPLE.COM");
    // What a command has written comes through provider `exec` as it is.
    const { tokens: material } = parseHadoopTokenFile(readFileSync(file));
    expect(material.tokens.map(({ alias }) => alias)).toEqual([...tokens.keys()]);
  }
  const again = join(dir, "again");
  writeFileSync(again, writeTokenStorage(readTokenStorage(readFileSync(java))));
  const { stdout } = await dtutil("print", again);
  expect(stdout).toContain("ha-hdfs:nameservice1");
});
