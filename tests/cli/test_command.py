"""The command as a whole: its errors, its exit codes, its secrets, and the page about it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atom_stripe import __version__
from atom_stripe.cli import output
from atom_stripe.cli.app import app
from atom_stripe.errors import ConfigurationError
from tests.canary import MARK
from tests.cli.test_connections_commands import World
from tests.cli.test_import import Original, engine_of
from tests.databases import new_postgres, new_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Command

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
PASSWORD = f"p{MARK}"


def commands() -> Iterator[str]:
    """Yield the names of all commands."""
    for info in app.registered_groups:
        group = info.typer_instance
        assert group is not None
        for one in group.registered_commands:
            name = one.name or getattr(one.callback, "__name__", "")
            yield f"{info.name} {name}"
    for one in app.registered_commands:
        yield one.name or getattr(one.callback, "__name__", "")


COMMANDS = sorted(commands())


def test_there_are_commands() -> None:
    """The list that the tests below go over is not empty."""
    assert {"keys rotate", "connections import", "db upgrade"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help(on_file: Command, name: str) -> None:
    """Every command explains itself, in the same words at every width above that of help, and has --json."""
    done = on_file(*name.split(), "--help", TERM="xterm-256color", FORCE_COLOR="1")
    assert done.status == 0
    assert "--json" in done.stdout
    assert all(ord(letter) < 0x2500 for letter in done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_every_command(name: str) -> None:
    """docs/command.md tells of every command."""
    assert f"atom-stripe {name}" in PAGE


def test_the_version(on_file: Command) -> None:
    """--version prints the version."""
    assert on_file("--version").stdout == f"atom-stripe {__version__}\n"


def test_what_is_no_command(on_file: Command) -> None:
    """Wrong usage ends with status 2 and says what there is."""
    done = on_file("keys", "turn")
    assert (done.status, done.stdout) == (2, "")
    assert "No such command 'turn'" in done.stderr


def test_no_database(on_file: Command) -> None:
    """Without a database the message names the variable; with --json stdout still holds one document."""
    done = on_file("connections", "list", "--json", DATABASE_URL=None)
    message = "there is no database: set DATABASE_URL, or give --database-url if its URL holds no password"
    assert (done.status, done.json, done.stderr) == (2, {"error": "ConfigurationError", "message": message}, f"error: {message}\n")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{PASSWORD}@localhost/app",
        f"postgresql://localhost/app?password={PASSWORD}",
        f"postgresql://[::1:{PASSWORD}",
    ],
)
@pytest.mark.parametrize("option", ["--database-url", "--from"])
def test_passwords_are_no_arguments(on_file: Command, url: str, option: str) -> None:
    """A URL with a password is refused as an argument, which everybody can read, and is not repeated."""
    done = on_file("connections", "import", option, url)
    assert (done.status, done.stdout) == (2, "")
    assert "put the URL with the password into" in done.stderr


@pytest.mark.parametrize(
    "url", [f"postgresql://user:{PASSWORD}@127.0.0.1:1/app", f"nonsense {PASSWORD}", f"mysql://u:{PASSWORD}@h/d"]
)
def test_passwords_are_not_shown(on_file: Command, url: str) -> None:
    """A password in DATABASE_URL is in no message, whatever goes wrong, also with --debug."""
    done = on_file("connections", "list", DATABASE_URL=url)
    assert done.status in {1, 2}
    assert done.stderr.startswith("error: ")
    process = on_file.start("--debug", "connections", "list", DATABASE_URL=url)
    stdout, stderr = process.communicate(timeout=60)
    assert "Traceback" in stderr
    assert MARK not in stdout + stderr


def test_an_url_as_an_argument(on_file: Command) -> None:
    """A URL without a password may be an argument, and comes before DATABASE_URL."""
    url = on_file.environment["DATABASE_URL"]
    assert on_file("db", "status", "--database-url", url, DATABASE_URL="sqlite:////nowhere/at/all.db").status == 0


def test_debug(on_file: Command) -> None:
    """With --debug an error is raised as it is."""
    with pytest.raises(ConfigurationError, match="there is no database"):
        on_file("--debug", "db", "status", DATABASE_URL=None)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_tables_that_are_missing(on_file: Command, kind: str, request: pytest.FixtureRequest) -> None:
    """Before the upgrade, commands say what to do; the upgrade makes the tables once."""
    with new_sqlite() if kind == "sqlite" else new_postgres(request.getfixturevalue("postgres_server")) as url:
        done = on_file("connections", "list", DATABASE_URL=url)
        assert done.status == 1
        assert "run `atom-stripe db upgrade`" in done.stderr
        assert on_file("db", "status", DATABASE_URL=url).status == 1
        assert on_file("db", "status", "--json", DATABASE_URL=url).json["revision"] is None
        assert on_file("db", "upgrade", DATABASE_URL=url).stdout.startswith("upgraded to ")
        assert on_file("db", "upgrade", DATABASE_URL=url).stdout.startswith("up to date at ")
        done = on_file("db", "status", DATABASE_URL=url)
        assert (done.status, done.stderr) == (0, "")
        assert done.stdout.startswith("up to date at ")


@pytest.mark.parametrize("engine", ["pgqueuer", "procrastinate"])
def test_tables_of_an_engine(on_file: Command, engine: str, postgres_url: str) -> None:
    """With --engine the tables of the engine are told of and made, once; without it they are nobody's concern."""
    assert on_file("db", "upgrade", DATABASE_URL=postgres_url).status == 0
    done = on_file("db", "status", "--engine", engine, DATABASE_URL=postgres_url)
    assert (done.status, f"{engine}: 1 step to come" in done.stdout) == (1, True)
    assert f"atom-stripe db upgrade --engine {engine}" in done.stderr
    assert on_file("db", "status", "--engine", engine, "--json", DATABASE_URL=postgres_url).json["engine"] == ["install"]
    assert on_file("db", "status", DATABASE_URL=postgres_url).status == 0
    assert f"{engine}: 1 step taken" in on_file("db", "upgrade", "--engine", engine, DATABASE_URL=postgres_url).stdout
    assert f"{engine}: up to date" in on_file("db", "upgrade", "--engine", engine, DATABASE_URL=postgres_url).stdout
    assert on_file("db", "status", "--engine", engine, "--json", DATABASE_URL=postgres_url).json["engine"] == []
    done = on_file("db", "status", "--engine", engine, DATABASE_URL=postgres_url)
    assert (done.status, f"{engine}: up to date" in done.stdout) == (0, True)


def test_an_engine_beside_sqlite(on_file: Command) -> None:
    """An engine for a database that has none is refused before anything is done."""
    done = on_file("db", "upgrade", "--engine", "pgqueuer")
    assert done.status == 2
    assert "PostgreSQL" in done.stderr


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_without_the_extra(module: str) -> None:
    """Where a part is missing the command says in one line what to install, and ends with status 2; rich alone is missed only for bars."""
    program = f"import sys; sys.modules[{module!r}] = None; from atom_stripe.cli import main; sys.argv[1:] = ['--version']; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    if module == "typer":
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "error: typer is not installed: pip install 'atom-stripe[cli]'\n"
    else:
        assert done.returncode == 0


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Progress is drawn on stderr if that is a terminal, in no colour if NO_COLOR is set, and nowhere else."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with output.progress("rotating") as show:
        show(1, 2)
    drawn = capsys.readouterr()
    assert drawn.out == ""
    assert "rotating" in drawn.err
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", drawn.err)


def test_the_page_runs(on_file: Command) -> None:
    """The shell of docs/command.md runs as it stands, from the first line to the last, and shows no secret but the keys that it makes."""
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    assert "atom-stripe keys rotate" in script
    world = World(on_file)
    with tempfile.TemporaryDirectory() as folder:
        engine = engine_of(f"sqlite:///{folder}/stripe.db")
        original = Original(engine, "stripe_oauth_tokens")
        for name in ("1", "2"):
            original.add(f"user_{name}", f"sk_test_{MARK}{name}", stripe_user_id=f"acct_{name}")
        engine.dispose()
        program = Path(folder) / "atom-stripe"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m atom_stripe.cli "$@"\n', encoding="utf-8")
        program.chmod(0o700)
        (Path(folder) / "leaked.txt").write_text(f"sk_test_{MARK}1\n", encoding="utf-8")
        environment = {**os.environ, **world.environment, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        environment.pop("DATABASE_URL", None)
        shell = shutil.which("sh")
        assert shell is not None
        done = subprocess.run(
            [shell, "-e", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    world.sandbox.close()
    assert done.returncode == 0, done.stderr
    assert MARK not in done.stdout + done.stderr
    assert "2 rows: 2 imported" in done.stdout
