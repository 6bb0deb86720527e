"""
Build the package, look into it, install it as users do, and try what was installed.

    python tools/check_wheel.py

Each installation is a fresh environment with nothing but the wheel and what it asks for: the newest versions and the oldest ones
that we claim to work with, without extras and with each. In it, this file runs again, as the second half of itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from email import message_from_bytes
from importlib import import_module, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "atom_stripe"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = sorted(PROJECT["optional-dependencies"])
UV = str(Path(sys.executable).with_name("uv"))
# What `import atom_stripe` alone must not load: whoever wants one part pays for that part.
HEAVY = ["cryptography", "fastapi", "flask", "httpx", "psycopg", "pydantic", "pyreqwest", "sqlite3", "stripe", "tenacity"]
# What is imported only where the other package is known to be there: pytest imports its plugin, the client asks before it
# takes the fast transport, locust reads its own file, Alembic loads the steps of a migration. By the beginning of a module's name.
WAITING = {
    "atom_stripe._engine.fast_transport": "pyreqwest",
    "atom_stripe.cli.load_file": "gevent",
    "atom_stripe.stores._migrations.versions.": "sqlalchemy",
    "atom_stripe.testing.plugin": "pytest",
}


def main() -> None:
    """Check the package from end to end."""
    with tempfile.TemporaryDirectory() as folder:
        uv("build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder, str(ROOT))
        (wheel,) = Path(folder).glob("*.whl")
        (sdist,) = Path(folder).glob("*.tar.gz")
        look_into(wheel)
        print(f"{wheel.name}: {wheel.stat().st_size // 1024} KiB, {sdist.name}: {sdist.stat().st_size // 1024} KiB")
        for extra in ["", *EXTRAS]:
            install(folder, wheel, extra)
        install(folder, wheel, "", "--resolution", "lowest-direct")
        install(folder, wheel, "all", "--resolution", "lowest-direct")


def look_into(wheel: Path) -> None:
    """Check that the wheel holds the package, all of it and nothing else, and says the truth about it."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = f"atom_stripe-{wheel.name.split('-')[1]}.dist-info"
        described = message_from_bytes(archive.read(f"{about}/METADATA"))
    inside = {name for name in names if not name.startswith(about)}
    wanted = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*") if path.suffix in {".py", ".typed"}}
    check(inside == wanted, f"the wheel should hold the package: {sorted(inside ^ wanted)[:5]}")
    check("atom_stripe/py.typed" in inside, "py.typed is missing")
    check(f"{about}/licenses/LICENSE" in names, "the licence is missing")
    check(described["License-Expression"] == PROJECT["license"], "the licence is not named")
    check(described["Requires-Python"] == PROJECT["requires-python"], "the Pythons are not those of pyproject.toml")
    check(sorted(described.get_all("Provides-Extra", [])) == EXTRAS, "the extras are not those of pyproject.toml")


def install(folder: str, wheel: Path, extra: str, *options: str) -> None:
    """Install the wheel into a new environment and try it there."""
    environment = Path(folder, "environment")
    uv("venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(environment))
    python = str(environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    uv("pip", "install", "--quiet", "--python", python, *options, wanted)
    # -I: not what stands beside this file, and no settings of the user's.
    done = subprocess.run([python, "-I", __file__, "try"], cwd=folder, capture_output=True, text=True, check=False)
    name = f"atom-stripe{f'[{extra}]' if extra else ''}{' with the oldest versions' if options else ''}"
    check(done.returncode == 0, f"{name} does not work once installed:\n{done.stdout}{done.stderr}")
    report = json.loads(done.stdout)
    # What cannot be imported must be because of an extra that exists and is not here.
    for module, advice in report["missing"].items():
        named = [one for one in EXTRAS if f"'atom-stripe[{one}]'" in advice]
        check(bool(named), f"{name}: importing {module} says {advice!r}, which names no extra")
        check(extra not in {*named, "all"}, f"{name}: {module} is still missing something: {advice}")
    print(f"{name}: {report['imported']} modules, {len(report['missing'])} of them wait for an extra")


def try_out() -> None:
    """Try what is installed, in the environment that it is installed in."""
    import atom_stripe

    loaded = [name for name in HEAVY if name in sys.modules]
    check(not loaded, f"`import atom_stripe` loads {loaded}")
    installed = Path(atom_stripe.__file__).parent
    check(not installed.is_relative_to(PACKAGE.parent), "the checkout was imported and not the wheel")
    missing: dict[str, str] = {}
    modules = sorted(path.relative_to(installed.parent).with_suffix("").parts for path in installed.rglob("*.py"))
    for parts in modules:
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if isinstance(error, atom_stripe.AtomStripeError):
                missing[name] = str(error)
            elif not any(name.startswith(module) and error.name == missing_one for module, missing_one in WAITING.items()):
                raise
    for name in atom_stripe.__all__:
        getattr(atom_stripe, name)
    check("stripe" not in sys.modules, "importing the package loads Stripe's own, which only client.sdk may")
    check(atom_stripe.__version__ == metadata.version("atom-stripe"), "the version is not that of the metadata")
    use()
    print(json.dumps({"imported": len(modules), "missing": missing}))


def use() -> None:
    """Take a payment in the sandbox, and reach Stripe's own client."""
    from atom_stripe.testing import StripeSandbox

    with StripeSandbox() as sandbox, sandbox.client() as stripe:
        customer = stripe.customers.create(email="jenny@example.com")
        payment = stripe.payment_intents.create(amount=2000, currency="usd", customer=customer.id)
        check(stripe.payment_intents.retrieve(payment.id).amount == 2000, "the sandbox lost a payment")
        check(stripe.sdk is not None, "Stripe's own client cannot be had")


def check(right: bool, otherwise: str) -> None:  # noqa: FBT001 - the fact comes first, as in assert
    """Stop with *otherwise* unless *right*."""
    if not right:
        sys.exit(f"error: {otherwise}")


def uv(*arguments: str) -> None:
    """Run uv, which says itself what went wrong."""
    if subprocess.run([UV, *arguments], check=False).returncode:
        sys.exit("error: uv failed (see above)")


if __name__ == "__main__":
    if sys.argv[1:] == ["try"]:
        try_out()
    else:
        main()
