import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, describe, expect, it } from "vitest";
import { registerHadoopTokens } from "../../../src/cli/hadoop-tokens.ts";
import { readTokenStorage, writeTokenStorage } from "../../../src/protocol/hadoop/token-storage.ts";
import { Secret } from "../../../src/protocol/secret.ts";
import { systemClock, systemRandom } from "../../../src/runtime/system-clock.ts";

const dir = mkdtempSync(join(tmpdir(), "evergrant-ht-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const vectors = new URL("../../vectors/hdts-vectors.json", import.meta.url);
const { fileV0, fileV1 } = JSON.parse(readFileSync(vectors, "utf8")) as Record<string, string>;

async function run(...argv: string[]): Promise<{ code: number; out: string }> {
  let out = "";
  let code = -1;
  const io = {
    stdout: (text: string) => {
      out += text;
    },
    stderr: () => undefined,
    env: { HADOOP_TOKEN_FILE_LOCATION: join(dir, "v0") },
    workingDir: dir,
    terminal: false,
    clock: systemClock,
    random: systemRandom,
    signals: process,
  };
  const program = new Command().exitOverride();
  registerHadoopTokens(program, io, (given) => {
    code = given;
  });
  await program.parseAsync(["hadoop-tokens", ...argv], { from: "user" });
  return { code, out };
}

describe("evergrant hadoop-tokens", () => {
  it("shows owner, renewer, dates and service of both versions, and no password", async () => {
    writeFileSync(join(dir, "v0"), Buffer.from(fileV0 ?? "", "base64"));
    writeFileSync(join(dir, "v1"), Buffer.from(fileV1 ?? "", "base64"));
    const { code, out } = await run("v0");
    expect(code).toBe(0);
    expect(out).toContain("alice@EXAMPLE.COM (by svc-renewer@EXAMPLE.COM)");
    expect(out).toContain("2023-11-14T22:13:20Z  2023-11-21T22:13:20Z");
    expect(out).toContain("kms-dt");
    expect(out).toContain("secret my.secret");
    expect((await run("v1")).out).toBe(out);
    expect((await run()).out).toBe(out);
    const json = (await run("v0", "--json")).out;
    expect(JSON.parse(json).tokens[0]).toMatchObject({ renewer: "renewer", sequenceNumber: 4242 });
    for (const shown of [out, json]) {
      expect(shown).not.toMatch(/AAECAwQF|00010203|password/i);
    }
  });

  it("shows tokens of unknown kinds and with odd names, without moving the cursor", async () => {
    const [token] = readTokenStorage(Buffer.from(fileV0 ?? "", "base64")).tokens.values();
    if (token === undefined) throw new Error("the vectors have a token");
    const tokens = new Map([
      ["a\u001b[2J", { ...token, kind: "OzoneToken" }],
      ["b", { ...token, identifier: Uint8Array.of(8), password: new Secret(new Uint8Array()) }],
    ]);
    writeFileSync(join(dir, "odd"), writeTokenStorage({ tokens, secrets: new Map() }));
    const { out } = await run("odd");
    expect(out).toContain("a?[2J");
    expect(out).not.toContain("\u001b");
    expect(out.split("\n")).toHaveLength(4);
  });

  it("says which file it can't read", async () => {
    writeFileSync(join(dir, "cut"), Buffer.from(fileV0 ?? "", "base64").subarray(0, 50));
    await expect(run("missing")).rejects.toMatchObject({ code: "FILE_UNUSABLE" });
    await expect(run("cut")).rejects.toThrow(/cut is no token file/);
  });
});
