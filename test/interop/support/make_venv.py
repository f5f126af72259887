"""Makes a virtual environment with pinned packages once, whoever else asks for it at the same time.

Called as: make_venv.py FOLDER REQUIREMENT...
A lock file beside the folder makes others wait; a stamp inside it says what it was made of.
"""

import fcntl
import pathlib
import shutil
import subprocess
import sys

folder, requirements = pathlib.Path(sys.argv[1]), sys.argv[2:]
stamp = folder / "requirements.stamp"
wanted = "\n".join([sys.version, *requirements])

folder.parent.mkdir(parents=True, exist_ok=True)
with open(folder.with_name(folder.name + ".lock"), "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--disable-pip-version-check", *requirements], check=True)
        stamp.write_text(wanted)
