/**
 * Programs that judge what deploy/ ships: Kubernetes' schemas and the Compose specification from PyPI, Prometheus' own tool and
 * systemd's from the distribution's packages. Fetched once per checkout, unpacked without root.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ROOT } from "./packed-package.ts";

const run = promisify(execFile);
const HOME = join(ROOT, ".evergrant/validators");
const MAKE_VENV = fileURLToPath(new URL("../interop/support/make_venv.py", import.meta.url));

/** A program of an environment of its own with pinned packages. */
export async function venvProgram(name: "kubernetes-validate" | "python"): Promise<string> {
  const venv = join(HOME, "venv");
  await run("python3", [MAKE_VENV, venv, "kubernetes-validate==1.37.0", "compose-spec==0.2.1"], {
    maxBuffer: 1 << 24,
  });
  return join(venv, "bin", name);
}

/** A program of a Debian package: the machine's own, else unpacked from `apt-get download`. */
export async function debianProgram(name: string, debian: string): Promise<string> {
  for (const folder of (process.env["PATH"] ?? "").split(":")) {
    if (folder !== "" && existsSync(join(folder, name))) return join(folder, name);
  }
  const home = join(HOME, debian);
  const program = join(home, "usr/bin", name);
  if (existsSync(program)) return program;
  const fresh = `${home}.${process.pid}`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  // Root's apt would download as user _apt, who cannot write there.
  const asRoot = process.getuid?.() === 0 ? ["-o", "APT::Sandbox::User=root"] : [];
  await run("apt-get", ["-q", ...asRoot, "download", debian], { cwd: fresh });
  for (const file of readdirSync(fresh).filter((entry) => entry.endsWith(".deb"))) {
    await run("dpkg-deb", ["-x", join(fresh, file), fresh]);
    rmSync(join(fresh, file));
  }
  rmSync(home, { recursive: true, force: true });
  renameSync(fresh, home);
  return program;
}
