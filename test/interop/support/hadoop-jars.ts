/** Hadoop itself, from the ordinary registry by way of Maven, fetched once into `target/`. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runProgram } from "./foreground.ts";

const PROJECT = fileURLToPath(new URL("../hadoop", import.meta.url));
const JARS = join(PROJECT, "target", "jars");
let fetched: Promise<string> | undefined;

/** The folder with the jars. @throws when Maven can't resolve them. */
export function hadoopJars(): Promise<string> {
  fetched ??= fetchJars();
  return fetched;
}

async function fetchJars(): Promise<string> {
  const mark = join(JARS, ".complete");
  if (existsSync(mark)) return JARS;
  const goals = ["dependency:copy-dependencies", `-DoutputDirectory=${JARS}`];
  const args = ["-B", "-q", "-f", join(PROJECT, "pom.xml"), ...goals, "-DincludeScope=runtime"];
  const { status, stdout } = await runProgram("mvn", args);
  if (status !== 0) throw new Error(`Maven could not fetch Hadoop: ${stdout.slice(0, 2000)}`);
  writeFileSync(mark, "");
  return JARS;
}
