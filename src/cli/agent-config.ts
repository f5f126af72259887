/** Reads an `agent.yaml`. Its shape and its judgement are the worker agent's. */
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { EvergrantError } from "../protocol/errors.ts";
import type { AgentConfig } from "../worker-agent/config.ts";

export interface ReadAgentConfig {
  readonly config: AgentConfig;
  /** What relative paths in it are relative to. */
  readonly dir: string;
}

/** @throws EvergrantError `FILE_UNUSABLE`; `CONFIG_INVALID` with all faults, those of receivers included */
export async function readAgentConfig(file: string): Promise<ReadAgentConfig> {
  const { parseDocument } = await import("yaml");
  const { checkReceiverOptions, parseAgentConfig } = await import("../worker-agent/config.ts");
  const { loadReceiverFactory } = await import("../worker-agent/receivers/load-receiver.ts");
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    throw new EvergrantError("FILE_UNUSABLE", `the configuration ${file} can't be read`, { cause });
  }
  const document = parseDocument(text, { prettyErrors: true });
  const [fault] = document.errors;
  if (fault !== undefined) {
    const [{ line, col } = { line: 1, col: 1 }] = fault.linePos ?? [];
    throw new EvergrantError(
      "CONFIG_INVALID",
      `${file} is not YAML: line ${line}, column ${col}: ${fault.code}`,
    );
  }
  const config = parseAgentConfig(document.toJS({ maxAliasCount: 100 }));
  const dir = dirname(file);
  await checkReceiverOptions(config, (kind) => loadReceiverFactory(kind, dir));
  return { config, dir };
}
