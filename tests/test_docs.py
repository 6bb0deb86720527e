"""The documentation: its links lead somewhere, its commands exist, and its code compiles. That the code runs is tested block by block."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """Return the places in a page that a link can lead to."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link of a page to a file or a heading of this project leads to one."""
    broken = []
    for link in LINK.findall(FENCE.sub("", text_of(page))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    """Every `make` command that a page names is one of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text_of(page), re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_that_cannot_run_compiles(page: Path) -> None:
    """A block of Python that is not run is correct as far as a compiler sees."""
    for language, code in FENCE.findall(text_of(page)):
        if language == "py":
            compile(code, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_every_page_can_be_found() -> None:
    """The index or the README leads to every page of the documentation."""
    start = {ROOT / "README.md"}
    found: set[Path] = set()
    while start:
        page = start.pop()
        found.add(page)
        links = [link.partition("#")[0] for link in LINK.findall(FENCE.sub("", text_of(page))) if not re.match(r"[a-z]+:", link)]
        targets = {(page.parent / link).resolve() for link in links if link.endswith(".md")}
        start |= {target for target in targets if target.exists()} - found
    assert {name_of(page) for page in PAGES} <= {name_of(page) for page in found}
