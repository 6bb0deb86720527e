"""
Move the project to another version of stripe. The two steps of ``make upgrade-stripe VERSION=16.2.0`` that edit files:

    python tools/upgrade_stripe.py pin 16.2.0      write that version into pyproject.toml
    python tools/upgrade_stripe.py api-version     write the API version of the installed stripe into config.py

The generated code names types of the version that it was made from, so the oldest version that the package accepts moves too.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
CONFIG = ROOT / "src" / "atom_stripe" / "config.py"


def main(*arguments: str) -> int:
    """Run the command line and return its exit status."""
    match arguments:
        case ("pin", version) if re.fullmatch(r"\d+\.\d+\.\d+", version):
            edit(PYPROJECT, pinned(PYPROJECT.read_text(encoding="utf-8"), version))
        case ("api-version",):
            edit(
                CONFIG,
                replaced(
                    CONFIG.read_text(encoding="utf-8"), r'(?m)^API_VERSION = ".*"$', f'API_VERSION = "{installed_api_version()}"'
                ),
            )
        case _:
            sys.stderr.write("usage: make upgrade-stripe VERSION=16.2.0\n")
            return 2
    return 0


def pinned(text: str, version: str) -> str:
    """Return the *text* of pyproject.toml with *version* for development, and as the oldest one that users may have."""
    major, minor, _ = version.split(".")
    text = replaced(text, r'"stripe==[\d.]+"', f'"stripe=={version}"')
    return replaced(text, r'"stripe>=[\d.]+,<\d+"', f'"stripe>={major}.{minor},<{int(major) + 1}"')


def replaced(text: str, pattern: str, new: str) -> str:
    """Return *text* with *new* in place of the one match of *pattern*."""
    text, count = re.subn(pattern, new, text)
    if count != 1:
        sys.exit(f"{pattern} should be there once and is there {count} times")
    return text


def installed_api_version() -> str:
    """Return the API version of the installed stripe, without importing it."""
    spec = find_spec("stripe")
    if spec is None or spec.origin is None:
        sys.exit("stripe is not installed in this environment")
    found = re.search(r'CURRENT = "(.+)"', Path(spec.origin).with_name("_api_version.py").read_text(encoding="utf-8"))
    if found is None:
        sys.exit("stripe/_api_version.py no longer says CURRENT: change tools/upgrade_stripe.py")
    return found[1]


def edit(path: Path, text: str) -> None:
    """Write *text* to *path* and say whether that changed anything."""
    changed = text != path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8", newline="\n")
    sys.stdout.write(f"{path.relative_to(ROOT)}: {'changed' if changed else 'as before'}\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
