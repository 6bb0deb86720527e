"""What holds for every test, and for every block of code in the documentation, which runs as a test too."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
from typing import TYPE_CHECKING

from hypothesis import settings
from sybil import Sybil
from sybil.evaluators.python import pad
from sybil.parsers.markdown import CodeBlockParser

if TYPE_CHECKING:
    from sybil import Example

pytest_plugins = ["pytester", "tests.loopback", "tests.canary", "tests.databases", "tests.redis_server", "tests.browsers"]

# What is set on a developer's machine, a key above all, must not reach a test or a program that a test starts.
for variable in [name for name in os.environ if name.startswith(("STRIPE_", "ATOM_STRIPE_"))]:
    del os.environ[variable]

# The machine decides how long an example takes, so no example is too slow. In CI the examples are the same in every run.
settings.register_profile("atom-stripe", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("atom-stripe")


def run_block(example: Example) -> None:
    """Run a block of Python in which ``await`` may stand outside a function, as in a shell."""
    # The padding makes the lines of a traceback those of the page.
    source = pad(example.parsed, example.line + example.parsed.line_offset)
    code = compile(source, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, example.namespace)  # noqa: S307 - the documentation is ours
    if inspect.iscoroutine(result):
        asyncio.run(result)


pytest_collect_file = Sybil(parsers=[CodeBlockParser("python", run_block)], patterns=["*.md"]).pytest()
