/** The code blocks of a document, for tests that hold documents to their word. */

export interface Block {
  /** The heading above it. */
  readonly under: string;
  readonly language: string;
  readonly text: string;
}

export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let under = "";
  let open: { language: string; lines: string[] } | undefined;
  for (const line of markdown.split("\n")) {
    if (open === undefined && line.startsWith("#")) under = line.replace(/^#+ /, "");
    if (!line.startsWith("```")) open?.lines.push(line);
    else if (open === undefined) open = { language: line.slice(3), lines: [] };
    else {
      blocks.push({ under, language: open.language, text: open.lines.join("\n") });
      open = undefined;
    }
  }
  return blocks;
}

/** The blocks whose first line is a comment with a file's name, by that name. */
export function filesOf(markdown: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const { text } of blocksOf(markdown)) {
    const [, name] = /^(?:\/\/|#) ([\w./-]+\.\w+)\n/.exec(text) ?? [];
    if (name !== undefined) files.set(name, `${text}\n`);
  }
  return files;
}
