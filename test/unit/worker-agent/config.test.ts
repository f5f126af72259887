import { describe, expect, it } from "vitest";
import {
  agentConfigJsonSchema,
  checkReceiverOptions,
  parseAgentConfig,
  timingsOf,
} from "../../../src/worker-agent/config.ts";
import { DEFAULT_TIMINGS, receiverIdOf } from "../../../src/worker-agent/core/settings.ts";
import { loadReceiverFactory } from "../../../src/worker-agent/receivers/load-receiver.ts";

const load = (kind: string) => loadReceiverFactory(kind, import.meta.dirname);

describe("agent configuration", () => {
  it("is optional as a whole: nothing means every provider by its convention", () => {
    for (const nothing of [undefined, null, {}]) {
      const config = parseAgentConfig(nothing);
      expect(config).toEqual({ providers: [], timings: {} });
      expect(timingsOf(config.timings)).toEqual(DEFAULT_TIMINGS);
    }
  });

  it("names all faults at once, each with its path and what was expected", () => {
    const wrong = {
      name: "no spaces allowed",
      status: { port: 70_000 },
      receivers: [{ kind: "file" }],
      timings: { partedMs: 0, registerRetry: { firstMs: 10, lastMs: 5 } },
      colour: "green",
    };
    expect(() => parseAgentConfig(wrong)).toThrowError(
      expect.objectContaining({ code: "CONFIG_INVALID" }),
    );
    let message = "";
    try {
      parseAgentConfig(wrong);
    } catch (thrown) {
      message = String(thrown);
    }
    for (const path of [
      "name: expected 1 to 64",
      "status.port:",
      "receivers.0.provider:",
      "timings.partedMs:",
      "timings.registerRetry: firstMs is above lastMs",
      '"colour"',
    ]) {
      expect(message).toContain(path);
    }
  });

  it("judges the receivers' own options by their factories, with the path in the file", async () => {
    const config = parseAgentConfig({
      receivers: [
        { kind: "aws-container", provider: "lake", port: "nine" },
        { kind: "no-such-receiver", provider: "lake" },
      ],
    });
    await expect(checkReceiverOptions(config, load)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringMatching(/receivers\.0\.port: .*[\s\S]*receivers\.1\.kind: /),
    });
  });

  it("has a JSON Schema that knows every field", () => {
    const schema = agentConfigJsonSchema();
    expect(Object.keys(schema["properties"] as object).sort()).toEqual([
      "defaultProvider",
      "name",
      "providers",
      "receivers",
      "stateDir",
      "status",
      "timings",
    ]);
    expect(schema["additionalProperties"]).toBe(false);
  });

  it("tells two receivers of one kind and provider apart by number", () => {
    const ids = new Set<string>();
    for (let count = 0; count < 3; count += 1) {
      ids.add(receiverIdOf({ kind: "file", provider: "lake" }, (id) => ids.has(id)));
    }
    expect([...ids]).toEqual(["file/lake", "file/lake#2", "file/lake#3"]);
  });
});
