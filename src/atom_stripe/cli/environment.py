"""
Files of settings, such as ``.env``: one ``NAME=value`` a line.

The notation is what shells, Compose and other readers of such files have in common: comments, ``export``, single and double quotes. Nothing in a
value is expanded. What cannot be read is refused by its line, whose text is not shown.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from atom_stripe._extras import require
from atom_stripe.cli.output import note
from atom_stripe.errors import ConfigurationError

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

EnvFile = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        metavar="FILE",
        show_default=".env, if there is one",
        help="A file of settings, NAME=value. What is set in the environment comes first.",
    ),
]

DEFAULT = Path(".env")
_LINE = re.compile(r"(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(?P<value>.*)")
_QUOTED = re.compile(r"""(?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\$`]|\\[\\"$`])*)")[ \t]*(?:#.*)?""")
# What a shell, too, takes for a part of one word.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=-]*")
_LARGEST = 1024 * 1024


def read(path: Path) -> dict[str, str]:
    """
    Return the settings in a file.

    Raises:
        ConfigurationError: It is not there, cannot be read, or holds a line that is none.
    """
    return {name: value for name, value in _lines(_text(path), path) if name is not None}


def parse(text: str, source: str) -> dict[str, str]:
    """Return the settings in *text*, which came from *source*."""
    return {name: value for name, value in _lines(text, source) if name is not None}


@contextmanager
def loaded(path: Path | None) -> Generator[None]:
    """
    Have the settings of a file in the environment, below what stands there: of *path*, or of ``.env`` in this folder if there is one.

    Raises:
        ConfigurationError: *path* is not there, or a line is malformed.
    """
    if path is None and not DEFAULT.is_file():
        yield
        return
    path = path or DEFAULT
    added = {name: value for name, value in read(path).items() if name not in os.environ}
    if added and open_to_others(path):
        note(f"Others on this machine can read {path}, which holds secrets: chmod 600 {path}")
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def write(path: Path, values: Mapping[str, str]) -> None:
    """
    Put *values* into a file, which only its owner can read: what it has of these names is replaced, everything else is kept as it stands.

    It is replaced as a whole or not at all, whatever happens meanwhile.

    Raises:
        ConfigurationError: A value has a line break, or the file cannot be read or written.
    """
    text = _text(path) if path.exists() else ""
    left, kept = dict(values), list[str]()
    for line, (name, _) in zip(text.splitlines(), _lines(text, path), strict=True):
        if name is None or name not in values:
            kept.append(line)
        elif name in left:
            kept.append(f"{name}={_quoted(name, left.pop(name))}")
    kept += [f"{name}={_quoted(name, value)}" for name, value in left.items()]
    # The file itself, where this is a link to it.
    target = path.resolve()
    try:
        handle, made = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            # mkstemp's files have mode 600.
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in kept))
                file.flush()
                os.fsync(file.fileno())
            Path(made).replace(target)
        except BaseException:
            with suppress(OSError):
                Path(made).unlink()
            raise
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise ConfigurationError(msg) from None


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise ConfigurationError(msg) from None
    except UnicodeDecodeError:
        msg = f"{path} is not text in UTF-8"
        raise ConfigurationError(msg) from None
    if len(text) > _LARGEST:
        msg = f"{path} is too long for a file of settings"
        raise ConfigurationError(msg)
    return text


def _lines(text: str, source: Path | str) -> list[tuple[str | None, str]]:
    found: list[tuple[str | None, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            found.append((None, ""))
            continue
        match = _LINE.fullmatch(bare)
        value = None if match is None else _value(match["value"])
        if match is None or value is None:
            msg = f"{source}, line {number}: write NAME=value, in single quotes if it holds anything but letters, digits and _.,:/@%+=-"
            raise ConfigurationError(msg)
        found.append((match["name"], value))
    return found


def _value(text: str) -> str | None:
    if text[:1] in {"'", '"'}:
        quoted = _QUOTED.fullmatch(text)
        if quoted is None:
            return None
        return quoted["single"] if quoted["single"] is not None else re.sub(r"\\(.)", r"\1", quoted["double"])
    value = re.split(r"(?:^|[ \t])#", text, maxsplit=1)[0].rstrip()
    # Readers differ in what these mean without quotes.
    return None if re.search(r"""['"`\\$]""", value) else value


def _quoted(name: str, value: str) -> str:
    if not value.isprintable() or "'" in value:
        msg = f"{name} holds a line break, a control character or a single quote, which has no place in a file of settings"
        raise ConfigurationError(msg)
    return value if _PLAIN.fullmatch(value) else f"'{value}'"


def open_to_others(path: Path) -> bool:
    """Return whether other users of this machine can read or change a file."""
    return os.name == "posix" and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
