"""
Make the virtual environments that `make` works in.

    python3 tools/environment.py create [PYTHON]       .venv, from the oldest supported Python of this machine
    python3 tools/environment.py newest ARGUMENT...    .venv-3.N, from the newest one, and run its python with these arguments

Everything comes by name, exact version and hash from the package index that this machine is set up with. Python itself is never
downloaded. An environment that is up to date is left alone. This file runs before anything is installed, and on a Python that is
too old for the package it must be able to say so: standard library and Python 3.8 only.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
INSTALLER = ROOT / "requirements" / "uv.txt"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
# The classifiers are the one list of the versions that we support.
SUPPORTED = sorted({int(minor) for minor in re.findall(r"Python :: 3\.(\d+)", PYPROJECT.read_text(encoding="utf-8"))})
# ensurepip is imported because Debian's python3 comes without it, and then venv cannot make an environment.
PROBE = "import ensurepip, sys, venv; print(*sys.version_info[:3], getattr(sys, '_base_executable', sys.executable), sep='|')"


class EnvironmentProblem(Exception):  # noqa: N818 - it is shown to a person, who reads the message alone
    """The environment cannot be made. The message says what to do."""


def main(command: str = "", *arguments: str) -> int:
    """Run the command line and return its exit status."""
    try:
        if command == "create" and len(arguments) <= 1:
            ensure(ROOT / ".venv", *arguments)
            return 0
        if command == "newest" and arguments:
            return run_newest(arguments)
    except EnvironmentProblem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


def run_newest(arguments: tuple[str, ...]) -> int:
    """Run *arguments* on the newest Python, in .venv if it is the one."""
    found = pythons()
    version, executable = found[-1]
    if version[:2] == sys.version_info[:2]:
        alone = "no other supported Python was found on this machine" if len(found) == 1 else "it is the newest of this machine"
        say(f"On Python {version[0]}.{version[1]} once more: {alone}.")
        return subprocess.run([sys.executable, *arguments], cwd=str(ROOT), check=False).returncode
    folder = ROOT / f".venv-{version[0]}.{version[1]}"
    ensure(folder, executable)
    return subprocess.run([str(python_of(folder)), *arguments], cwd=str(ROOT), check=False).returncode


def pythons() -> list[tuple[tuple[int, ...], str]]:
    """Return the supported Pythons of this machine, oldest first, one for each minor version."""
    candidates = [sys.executable]
    candidates += [path for path in (shutil.which(f"python3.{minor}") for minor in SUPPORTED) if path]
    # pyenv keeps versions that are on PATH only when they are switched on.
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates += [str(path) for minor in SUPPORTED for path in sorted(versions.glob(f"3.{minor}.*/bin/python"))]
    found: dict[int, tuple[tuple[int, ...], str]] = {}
    for candidate in candidates:
        probed = probe(candidate)
        if probed and probed[0][0] == 3 and probed[0][1] in SUPPORTED:
            found[probed[0][1]] = max(found.get(probed[0][1], probed), probed)
    if not found:
        msg = (
            f"no Python from 3.{SUPPORTED[0]} to 3.{SUPPORTED[-1]} with venv was found on this machine. Install one (on Debian and"
            " Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python …"
        )
        raise EnvironmentProblem(msg)
    return [found[minor] for minor in sorted(found)]


def chosen(python: str) -> tuple[tuple[int, ...], str]:
    """Return the version and path of the interpreter that the user named."""
    probed = probe(python)
    if not probed:
        msg = f"{python} does not run, or has no venv (on Debian and Ubuntu: install python3-venv)"
        raise EnvironmentProblem(msg)
    if probed[0] < (3, SUPPORTED[0]):
        msg = f"{python} is Python {'.'.join(map(str, probed[0]))}; this project needs 3.{SUPPORTED[0]} or newer"
        raise EnvironmentProblem(msg)
    return probed


def probe(python: str) -> tuple[tuple[int, ...], str] | None:
    """Return the version and path of the interpreter behind *python*, ``None`` if it cannot make an environment."""
    try:
        result = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if result.returncode:
        return None
    *version, executable = result.stdout.strip().split("|")
    return tuple(map(int, version)), executable


def ensure(folder: Path, python: str = "") -> None:
    """Bring the environment in *folder* up to date with *python*; do nothing when it is."""
    content = b"".join(path.read_bytes() for path in (PYPROJECT, INSTALLER, REQUIREMENTS))
    wanted = hashlib.sha256(content).hexdigest()
    stamp = folder / "atom-stripe.stamp"
    present = stamp.read_text(encoding="utf-8") if stamp.is_file() else ""
    current = probe(str(python_of(folder)))
    asked = chosen(python) if python else current
    if current and asked and current[0] == asked[0] and present:
        if present == wanted:
            return
    else:
        version, executable = asked or pythons()[0]
        say(f"Making {folder.name} with Python {'.'.join(map(str, version))} ({executable})")
        run("cannot make a virtual environment", executable, "-m", "venv", "--clear", str(folder))
    stamp.unlink(missing_ok=True)
    fill(folder)
    stamp.write_text(wanted, encoding="utf-8")


def fill(folder: Path) -> None:
    """Install the exact requirements and this package into the environment in *folder*."""
    python = str(python_of(folder))
    uv = str(Path(python).with_name("uv"))
    hint = "installing failed (see above). This step needs the package index: check the network, the proxy and pip's index settings"
    say(f"Installing uv into {folder.name}")
    run(hint, python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes", "-r", str(INSTALLER))
    say(f"Installing {REQUIREMENTS.relative_to(ROOT)} and this package into {folder.name}")
    run(hint, uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", str(REQUIREMENTS))
    local = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    run("this package cannot be built (see above)", uv, "pip", "install", "--quiet", "--python", python, *local)


def run(problem: str, *command: str) -> None:
    """Run *command* and turn its failure into *problem*."""
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", **index(command[0])}
    if subprocess.run(command, cwd=str(ROOT), env=environment, check=False).returncode:
        raise EnvironmentProblem(problem)


def index(program: str) -> dict[str, str]:
    """Return the index that pip is set up with, as uv's setting: uv does not read pip's."""
    if Path(program).name != "uv" or {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & set(os.environ):
        return {}
    python = str(Path(program).with_name("python"))
    for setting in (":env:.index-url", "install.index-url", "global.index-url"):
        result = subprocess.run([python, "-m", "pip", "config", "get", setting], capture_output=True, text=True, check=False)
        if not result.returncode and result.stdout.strip():
            return {"UV_DEFAULT_INDEX": result.stdout.strip()}
    return {}


def python_of(folder: Path) -> Path:
    """Return the interpreter of the environment in *folder*."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def say(line: str) -> None:
    """Tell the user what happens, at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
