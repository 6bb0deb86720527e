"""The command as a whole: its groups, and how its errors are told."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any

from atom_stripe import __version__
from atom_stripe._extras import require
from atom_stripe.cli import (
    connections,
    db,
    doctor,
    endpoints,
    environment,
    inbox,
    init,
    keys,
    load,
    sandbox,
    serve,
    smoke,
    token,
    worker,
)
from atom_stripe.cli.output import JSON, emit, note
from atom_stripe.errors import AtomStripeError, ConfigurationError, MissingExtraError

with require("typer", extra="cli"):
    import typer
    from typer.core import TyperGroup

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method: Any) -> Any:
        """Return *method*: the mark is for type checkers."""
        return method


class Commands(TyperGroup):
    """The outermost group: what goes wrong in a command is told in one line."""

    @override
    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except AtomStripeError as error:
            if ctx.params.get("debug"):
                raise
            if ctx.meta.get(JSON):
                emit({"error": type(error).__name__, "message": str(error)})
            note(f"error: {error}")
            raise typer.Exit(2 if isinstance(error, (ConfigurationError, MissingExtraError)) else 1) from None


app = typer.Typer(
    name="atom-stripe",
    cls=Commands,
    help="Set atom-stripe up, serve it and look after it: settings, keys, connections, events, webhook endpoints, tables.",
    no_args_is_help=True,
    # Errors are ours to tell, and help is the same text at every width and in every terminal.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 100},
)
app.add_typer(keys.group, name="keys")
app.add_typer(connections.group, name="connections")
app.add_typer(db.group, name="db")
app.add_typer(inbox.group, name="inbox")
app.add_typer(endpoints.group, name="endpoints")
app.command("worker")(worker.worker)
app.command("doctor")(doctor.doctor)
app.command("smoke")(smoke.smoke)
app.command("load")(load.load)
app.command("init")(init.init)
app.command("serve")(serve.serve)
app.command("sandbox")(sandbox.sandbox)
app.command("token")(token.token)


def _version(*, value: bool) -> None:
    if value:
        typer.echo(f"atom-stripe {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=lambda value: _version(value=value), is_eager=True, help="Show the version.")
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option("--env-file", metavar="FILE", help="Settings, NAME=value, for whatever is not set in the environment."),
    ] = None,
) -> None:
    """Take what stands before the command."""
    del debug, version  # they have been seen to
    if env_file is not None:
        context.with_resource(environment.loaded(env_file))
