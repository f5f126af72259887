/** The options of `kind: exec`. Owns no I/O. */
import * as z from "zod";

export const execOptionsSchema = z.strictObject({
  command: z
    .array(z.string(), { error: "expected a list: the program and its arguments" })
    .min(1, "expected the program and its arguments")
    .refine((argv) => argv[0] !== "", "expected a program first")
    .describe(
      "The program and its arguments. No shell reads them. `./x` is found from the configuration's folder.",
    ),
  credentialKind: z
    .string()
    .min(1)
    .max(64)
    .optional()
    .describe(
      "Kind of the credential. Default aws-session; hadoop-tokens with a Hadoop token file.",
    ),
  output: z
    .union(
      [
        z.literal("json"),
        z.strictObject({
          hadoopTokenFile: z.string().min(1).describe("File that the command writes."),
        }),
      ],
      { error: 'expected "json" or {hadoopTokenFile: PATH}' },
    )
    .default("json")
    .describe(
      "Where the credential is found: JSON on the standard output, or a Hadoop token file.",
    ),
  env: z
    .record(z.string(), z.string())
    .default({})
    .describe("Variables to set for the command, beside the few that it gets anyway."),
  passEnv: z
    .array(z.string())
    .default([])
    .describe("Names of the coordinator's own variables that the command gets, too."),
  cwd: z.string().min(1).optional().describe("Folder to run in. Default: the configuration's."),
  minRemainingSec: z
    .number()
    .min(0)
    .optional()
    .describe(
      "Life that must remain at renewal. Default 960 for aws-session, 360 for google-token, else 0.",
    ),
  attributes: z
    .record(z.string(), z.string())
    .default({})
    .describe("Facts for consumers, e.g. region; the command's own win."),
});
export type ExecOptions = z.infer<typeof execOptionsSchema>;
