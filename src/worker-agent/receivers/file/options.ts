/** The options of `file`, as docs/receivers/file.md lists them. */
import * as z from "zod";
import { fileModeSchema, ownerSchema } from "../file-mode.ts";
import { templateFaults } from "./template.ts";

const absolutePath = z
  .string()
  .refine(
    (path) => path.startsWith("/") && !path.endsWith("/") && !path.includes("\0"),
    "expected an absolute path of a file",
  );

export const fileOptions = z
  .strictObject({
    path: absolutePath.describe("Path of the file"),
    template: z
      .string()
      .superRefine((text, context) => {
        for (const message of templateFaults(text)) context.addIssue({ code: "custom", message });
      })
      .optional()
      .describe("What the file says. Absent, like templateFile: the credential as JSON"),
    templateFile: absolutePath.optional().describe("Path of a file with the template"),
    mode: fileModeSchema.default(0o600).describe("Mode of the file"),
    owner: ownerSchema.optional().describe("Owner of the file; others than the agent need root"),
    group: ownerSchema.optional().describe("Group of the file"),
    keepExpired: z
      .boolean()
      .default(false)
      .describe("Leaves the file when its credential ends, in place of removing it"),
  })
  .refine((options) => options.template === undefined || options.templateFile === undefined, {
    message: "expected one of template and templateFile",
    path: ["templateFile"],
  });
export type FileOptions = z.infer<typeof fileOptions>;
