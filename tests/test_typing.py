"""
What type checkers say about the calls in ``tests/typing``, strictly.

A mistake there carries an ignore comment for each checker, and a checker that sees no mistake reports its comment as unused.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYRIGHT = {
    "include": [str(ROOT / "tests" / "typing")],
    "extraPaths": [str(ROOT / "src")],
    "pythonVersion": "3.11",
    "typeCheckingMode": "strict",
    # mypy's comments are not pyright's, and one that is not needed is a mistake that pyright does not see.
    "enableTypeIgnoreComments": False,
    "reportUnnecessaryTypeIgnoreComment": "error",
    # What follows from a mistake is not another one.
    "reportUnknownArgumentType": False,
    "reportUnknownMemberType": False,
    "reportUnknownVariableType": False,
}


def complaints(*command: str) -> str:
    """Return what a checker prints when it is not content."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_mypy_accepts_right_calls_and_sees_every_mistake() -> None:
    """mypy reports each wrong name, type and colour in tests/typing, and nothing else."""
    assert complaints("mypy", "tests/typing") == ""


def test_pyright_accepts_right_calls_and_sees_every_mistake(tmp_path: Path) -> None:
    """Pyright reports each wrong name, type and colour in tests/typing, and nothing else."""
    config = tmp_path / "pyrightconfig.json"
    config.write_text(json.dumps(PYRIGHT), encoding="utf-8")
    assert complaints("basedpyright", "--project", str(config), "--pythonpath", sys.executable) == ""
