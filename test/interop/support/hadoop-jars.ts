/** Jars from the ordinary registry by way of Maven, fetched once into a project's `target/`. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runProgram } from "./foreground.ts";

const HADOOP = fileURLToPath(new URL("../hadoop", import.meta.url));
let hadoop: Promise<string> | undefined;

/** The folder with Hadoop's jars. @throws when Maven can't resolve them. */
export function hadoopJars(): Promise<string> {
  hadoop ??= fetchJars(HADOOP, join(HADOOP, "target", "jars"));
  return hadoop;
}

/** Copies what the project's pom.xml names into `folder`, unless that was done for the same pom.xml before. */
export async function fetchJars(project: string, folder: string): Promise<string> {
  const pom = join(project, "pom.xml");
  const wanted = readFileSync(pom, "utf8");
  const mark = join(folder, ".complete");
  if (existsSync(mark) && readFileSync(mark, "utf8") === wanted) return folder;
  rmSync(folder, { recursive: true, force: true });
  const goals = ["dependency:copy-dependencies", `-DoutputDirectory=${folder}`];
  const args = ["-B", "-q", "-f", pom, ...goals, "-DincludeScope=runtime"];
  const { status, stdout } = await runProgram("mvn", args);
  if (status !== 0) throw new Error(`Maven could not fetch ${pom}: ${stdout.slice(0, 2000)}`);
  writeFileSync(mark, wanted);
  return folder;
}
