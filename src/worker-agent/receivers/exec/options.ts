/** The options of `exec`, as docs/receivers/exec.md lists them. */
import * as z from "zod";

const commandSchema = z
  .array(z.string().refine((word) => !word.includes("\0"), "expected no NUL"))
  .min(1, "expected a program and its arguments");

export const execOptions = z.strictObject({
  command: commandSchema.describe("Program and arguments, run after each rotation; no shell"),
  onWithdraw: commandSchema
    .optional()
    .describe("Program and arguments, run when the credential has ended or was withdrawn"),
  input: z
    .enum(["stdin", "file", "none"])
    .default("stdin")
    .describe("How the command gets the credential, as JSON"),
  timeoutSec: z
    .number()
    .min(0.1)
    .max(3600)
    .default(30)
    .describe("After this the command and all that it started are killed"),
  env: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string())
    .default({})
    .describe("Further environment variables of the command"),
  passEnv: z
    .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "expected a variable's name"))
    .default([])
    .describe("Names of the agent's own variables that the command gets"),
  cwd: z.string().min(1).optional().describe("Working folder. Absent: the agent's"),
  output: z
    .enum(["ignore", "inherit"])
    .default("ignore")
    .describe("Whether what it prints goes to the agent's standard error; it may hold secrets"),
});
export type ExecOptions = z.infer<typeof execOptions>;
