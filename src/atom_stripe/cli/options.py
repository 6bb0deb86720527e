"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

from atom_stripe import protocols
from atom_stripe._extras import require
from atom_stripe.cli.output import JSON

with require("typer", extra="cli"):
    import typer


def _remember_json(context: typer.Context, value: bool) -> bool:  # noqa: FBT001 - typer calls it
    # An error is told as JSON too.
    context.meta[JSON] = value
    return value


Json = Annotated[bool, typer.Option("--json", callback=_remember_json, help="Print one JSON document, and nothing else.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        show_default="DATABASE_URL",
        help="The database: sqlite:///path or postgresql://host/name. One with a password goes into DATABASE_URL.",
    ),
]
UserId = Annotated[str, typer.Argument(metavar="USER_ID", help="The user's id in your own system.")]
Profile = Annotated[protocols.Profile, typer.Option("--profile", help="Which of Stripe's OAuth servers the connections come from.")]
State = Annotated[protocols.ConnectionState | None, typer.Option("--state", help="Only connections in this state.")]
AnyProfile = Annotated[protocols.Profile | None, typer.Option("--profile", help="Only connections of this profile.")]
Livemode = Annotated[bool | None, typer.Option("--livemode/--testmode", show_default=False, help="Which mode.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
