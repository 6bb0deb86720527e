"""
The routes, held against their own OpenAPI document by a program that we did not write.

Schemathesis reads the document, sends what it allows and what it forbids, follows the links from what was made to what can be done with it, and
compares every answer with what the document says.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
SCHEMATHESIS = Path(sys.executable).parent / "st"
# Bounds for what takes a minute; they are only reached when something is broken.
PATIENCE = 600
# Whether an id exists, or an amount fits its currency, no document says: what is allowed may still be refused, with a documented answer.
UNKNOWABLE = ["positive_data_acceptance"]
# Which methods a path has, Starlette says of the first of its routes alone.
NOT_OURS = {"fastapi": ["allow_header_conformance"], "flask": []}


@pytest.fixture(params=["fastapi", "flask"])
def service(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The framework, and where its routes are."""
    command = [sys.executable, "-m", "tests.independent.routes", request.param]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield request.param, f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()
        process.wait(PATIENCE)


def test_every_answer_is_documented(service: tuple[str, str], tmp_path: Path) -> None:
    """Whatever is sent to whichever route, the answer is none of 500 and above, and looks as its document says."""
    framework, address = service
    excluded = ",".join(UNKNOWABLE + NOT_OURS[framework])
    options = ["--header", "x-user: platform", "--seed", "1", "--max-examples", "3", "--exclude-checks", excluded]
    phases = ["--phases", "coverage,fuzzing,stateful", "--suppress-health-check", "all", "--no-color"]
    done = subprocess.run(
        [str(SCHEMATHESIS), "run", f"{address}/openapi.json", *options, *phases],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    [selected, tested] = (int(found) for found in re.findall(r"(?:Selected: \d+/|Tested: )(\d+)", done.stdout))
    assert selected == tested > 40
