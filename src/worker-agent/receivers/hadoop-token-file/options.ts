/** The options of `hadoop-token-file`, as docs/receivers/hadoop-token-file.md lists them. */
import * as z from "zod";
import { fileModeSchema, ownerSchema } from "../file-mode.ts";

export const hadoopTokenFileOptions = z.strictObject({
  path: z
    .string()
    .min(1)
    .refine((path) => path.startsWith("/"), "expected an absolute path")
    .optional()
    .describe("Path of the token file. Absent: in the agent's state folder"),
  mode: fileModeSchema.default(0o600).describe("Mode of the token file"),
  owner: ownerSchema.optional().describe("Owner of the token file: the executor's user"),
  group: ownerSchema.optional().describe("Group of the token file"),
  format: z
    .union([z.literal(0), z.literal(1)])
    .default(0)
    .describe("Version of the file: 0, which every Hadoop reads, or 1 (protobuf, since 3.0)"),
  merge: z
    .boolean()
    .default(true)
    .describe("Keeps the tokens and secrets that something else has put into the file"),
});
export type HadoopTokenFileOptions = z.infer<typeof hadoopTokenFileOptions>;
