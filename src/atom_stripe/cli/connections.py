"""``atom-stripe connections``: users' connections to their Stripe accounts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from atom_stripe._extras import require
from atom_stripe._wire.sealing import fingerprint
from atom_stripe.cli import importing, refreshing, settings
from atom_stripe.cli.options import AnyProfile, DatabaseUrl, Json, Livemode, Profile, State, UserId, Yes  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import document, emit, moment, note, pairs, say, table
from atom_stripe.connections import Connection
from atom_stripe.errors import ConfigurationError
from atom_stripe.keys import Keyring
from atom_stripe.protocols import TokenQuery

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from atom_stripe import protocols
    from atom_stripe.protocols import ConnectionState, TokenRecord, TokenStore

group = typer.Typer(help="Users' connections to their Stripe accounts.", no_args_is_help=True, rich_markup_mode=None)
group.command("import")(importing.import_)
group.command("refresh")(refreshing.refresh)

_HEAD = ("USER", "ACCOUNT", "PROFILE", "MODE", "STATE", "EXPIRES")
_LONGEST_TOKEN = 4096


@group.command("list")
def list_(
    *,
    state: State = None,
    account: Annotated[str | None, typer.Option("--account", metavar="ACCT", help="Only those to this account.")] = None,
    profile: AnyProfile = None,
    livemode: Livemode = None,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """List connections, of every profile and mode unless told otherwise."""
    states: frozenset[ConnectionState] | None = None if state is None else frozenset({state})
    query = TokenQuery(account=account, profile=profile, livemode=livemode, states=states)
    with settings.opened_store(database_url) as store:
        _print_all((Connection.of(row) for row in settings.rows(store, query)), json=json)


@group.command()
def show(user_id: UserId, *, database_url: DatabaseUrl = None, json: Json = False) -> None:
    """Show the connections of a user. Exits with 1 if there is none."""
    with settings.opened_store(database_url) as store:
        found = list(settings.rows(store, TokenQuery(user_id=user_id)))
    if json:
        emit([_detail(row) for row in found])
    else:
        for number, row in enumerate(found):
            if number:
                say("")
            pairs((name, moment(value) if name.endswith("_at") else value) for name, value in _detail(row).items())
    if not found:
        note("This user has no connection.")
        raise typer.Exit(1)


@group.command()
def disconnect(
    user_id: UserId,
    *,
    profile: Profile = "connect",
    yes: Yes = False,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """
    End a user's connection, at Stripe first and then here. The mode is that of STRIPE_SECRET_KEY.

    Nobody can undo it but the user, by connecting again.
    """
    with (
        settings.opened_store(database_url) as store,
        # No token is read or written.
        settings.manager(store, profile, keys=Keyring.generate()) as manager,
    ):
        _ask(f"Disconnect {user_id} at Stripe, in {'live' if manager.config.livemode else 'test'} mode?", yes=yes)
        _print_one(manager.disconnect(user_id), json=json)


@group.command()
def forget(
    user_id: UserId,
    *,
    profile: Profile = "connect",
    livemode: Livemode = None,
    yes: Yes = False,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """End a user's connection here alone: its tokens are deleted, and Stripe is not told."""
    with settings.opened_store(database_url) as store:
        mode = _mode_of(store, user_id, profile) if livemode is None else livemode
        _ask(f"Delete the tokens of {user_id}, in {'live' if mode else 'test'} mode?", yes=yes)
        with settings.local_manager(store, profile, livemode=mode) as manager:
            _print_one(manager.forget(user_id), json=json)


@group.command()
def find(*, database_url: DatabaseUrl = None, json: Json = False) -> None:
    """
    Tell which connection has an access token, such as one that turned up where it should not be.

    The token is read from stdin and not shown. Exits with 1 if nobody has it.
    """
    token = _secret_input("Access token: ")
    prints = frozenset(fingerprint(token, secret) for secret in settings.keyring().lookup_keys())
    with settings.opened_store(database_url) as store:
        found = [Connection.of(row) for row in settings.rows(store, TokenQuery(fingerprints=prints))]
    _print_all(found, json=json)
    if not found:
        note("No connection has this token now.")
        raise typer.Exit(1)


def _print_all(connections: Any, *, json: bool) -> None:
    if json:
        emit([document(connection) for connection in connections])
    else:
        table(_HEAD, (_line(connection) for connection in connections))


def _print_one(connection: Connection, *, json: bool) -> None:
    if json:
        emit(document(connection))
    else:
        table(_HEAD, [_line(connection)])


def _line(one: Connection) -> tuple[object, ...]:
    return one.user_id, one.account, one.profile, "live" if one.livemode else "test", one.state, moment(one.expires_at)


def _detail(row: TokenRecord) -> dict[str, Any]:
    return {**document(Connection.of(row)), "key_id": row.key_id, "has_refresh_token": row.refresh_token is not None}


def _mode_of(store: TokenStore, user_id: str, profile: protocols.Profile) -> bool:
    """Return the mode of the one connection that can be meant."""
    found = {row.livemode for row in settings.rows(store, TokenQuery(user_id=user_id, profile=profile))}
    if len(found) > 1:
        msg = "this user is connected in live and in test mode: say --livemode or --testmode"
        raise ConfigurationError(msg)
    # If there is none, either mode says so.
    return next(iter(found), False)


def _ask(question: str, *, yes: bool) -> None:
    """Ask whoever sits at a terminal. A script has decided."""
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)


def _secret_input(prompt: str) -> str:
    if sys.stdin.isatty():
        from getpass import getpass

        text = getpass(prompt)
    else:
        text = sys.stdin.readline(_LONGEST_TOKEN)
    if not (token := text.strip()):
        msg = "there is no token on stdin"
        raise ConfigurationError(msg)
    return token
