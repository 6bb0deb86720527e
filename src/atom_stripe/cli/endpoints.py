"""``atom-stripe endpoints``: the webhook endpoints that Stripe has, in the mode of STRIPE_SECRET_KEY."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from atom_stripe._engine.drive import run
from atom_stripe._extras import require
from atom_stripe.cli import settings
from atom_stripe.cli.inbox_options import ask
from atom_stripe.cli.options import DatabaseUrl, Json, Yes  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import counted, document, emit, note, pairs, say, table
from atom_stripe.config import API_VERSION
from atom_stripe.endpoints import WebhookEndpoints

with require("typer", extra="cli"):
    import typer

if TYPE_CHECKING:
    from collections.abc import Generator

    from atom_stripe.endpoints import EnsuredEndpoint, RegisteredEndpoint, RollOver

group = typer.Typer(
    help="The webhook endpoints that Stripe has, in the mode of STRIPE_SECRET_KEY.", no_args_is_help=True, rich_markup_mode=None
)

_HEAD = ("ID", "STATUS", "MODE", "EVENTS OF", "API VERSION", "URL", "ENABLED EVENTS")
_SHOWN = 3  # types in a line of the list
_STORE_IT = (
    "Put this signing secret into STRIPE_WEBHOOK_SECRET now, behind the others with a comma, wherever deliveries come in: Stripe does not show it "
    "again. What is refused until then, Stripe sends again later."
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id, such as we_1.")]
Url = Annotated[str, typer.Argument(metavar="URL", help="Where Stripe is to post to.")]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--enabled-events",
        metavar="TYPES",
        help="The types to deliver, with commas between; '*' for nearly all. May be given again.",
    ),
]
Description = Annotated[str | None, typer.Option("--description", help="For people who look at it.")]
Version = Annotated[
    str, typer.Option("--api-version", metavar="VERSION", help="In which events are written; 'account' for your account's.")
]
_ACCOUNT = "account"


@group.command("list")
def list_(*, json: Json = False) -> None:
    """List the endpoints, the newest first."""
    with _opened() as endpoints:
        found = endpoints.list()
    if json:
        emit([document(one) for one in found])
    else:
        table(_HEAD, (_line(one) for one in found))
    if not found:
        note("There is no webhook endpoint. Make one with: atom-stripe endpoints create")


@group.command()
def create(
    url: Url,
    *,
    events: Events = None,
    connect: Annotated[bool, typer.Option("--connect", help="Get the events of connected accounts instead of your own.")] = False,
    description: Description = None,
    api_version: Version = API_VERSION,
    adopt: Annotated[
        str | None, typer.Option("--adopt", metavar="ID", help="Take over this endpoint at URL, which was made elsewhere.")
    ] = None,
    json: Json = False,
) -> None:
    """
    See to it that there is an endpoint at URL for these events, and that it is enabled. Prints the signing secret of a new one, once.

    Run it as often as you like: what is there is changed only where it differs.
    """
    version = None if api_version == _ACCOUNT else api_version
    with _opened() as endpoints:
        done = endpoints.ensure(url, _types(events), connect=connect, description=description, api_version=version, adopt=adopt)
    _print_ensured(done, json=json)


@group.command()
def update(
    endpoint: Id,
    *,
    url: Annotated[str | None, typer.Option("--url", help="Another URL.")] = None,
    events: Events = None,
    description: Description = None,
    json: Json = False,
) -> None:
    """Change an endpoint. --enabled-events names all types, also those that it has. Its API version is changed by roll."""
    with _opened() as endpoints:
        done = endpoints.update(endpoint, url=url, events=None if events is None else _types(events), description=description)
    _print_one(done, json=json)


@group.command()
def roll(
    endpoint: Id,
    *,
    api_version: Annotated[
        str, typer.Option("--api-version", metavar="VERSION", help="In which the new endpoint writes events.")
    ] = API_VERSION,
    connect: Annotated[
        bool | None,
        typer.Option("--connect/--own", show_default=False, help="Whose events the endpoint gets, if Stripe does not say."),
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="ID is the new endpoint: turn the old one off, once the new one has delivered.")
    ] = False,
    delete_old: Annotated[bool, typer.Option("--delete", help="With --finish: delete the old endpoint.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --finish: do not look whether the new one has delivered.")] = False,
    yes: Yes = False,
    database_url: DatabaseUrl = None,
    json: Json = False,
) -> None:
    """
    Move an endpoint to another API version, with a second endpoint beside it. Prints the signing secret of that one, once.

    Both deliver, and the inbox stores each event once, until `roll NEW --finish`, which looks into the inbox for what the new one has delivered,
    and exits with 1 while that is nothing.
    """
    if not finish:
        with _opened() as endpoints:
            done = endpoints.roll_over(endpoint, api_version, connect=connect)
        _print_ensured(done, json=json)
        note(f"Then finish it with: atom-stripe endpoints roll {done.endpoint.id} --finish")
        return
    with _opened() as endpoints:
        new = _found(endpoints, endpoint)
        end = "Delete" if delete_old else "Disable"
        ask(f"{end} {new.replaces or 'the old endpoint'}, which {new.id} replaces, {_where(new)}?", yes=yes)
        _print_rolled(_finished(endpoints, new, database_url, delete=delete_old, force=force), json=json)


@group.command()
def enable(endpoint: Id, *, json: Json = False) -> None:
    """Turn an endpoint on again."""
    with _opened() as endpoints:
        done = endpoints.enable(endpoint)
    _print_one(done, json=json)
    note("What it missed, for 30 days, is found by: atom-stripe inbox reconcile")


@group.command()
def disable(endpoint: Id, *, yes: Yes = False, json: Json = False) -> None:
    """Turn an endpoint off. It gets no new events, and what Stripe would have sent again is given up."""
    with _opened() as endpoints:
        found = _found(endpoints, endpoint)
        ask(f"Disable {found.id}, {_where(found)}?", yes=yes)
        done = endpoints.disable(found)
    _print_one(done, json=json)


@group.command()
def delete(endpoint: Id, *, yes: Yes = False, json: Json = False) -> None:
    """Delete an endpoint, with its secret. Nobody can undo it."""
    with _opened() as endpoints:
        found = _found(endpoints, endpoint)
        ask(f"Delete {found.id}, {_where(found)}?", yes=yes)
        endpoints.delete(found)
    if json:
        emit({"id": found.id, "deleted": True})
    else:
        say(f"{found.id} is deleted")


@contextmanager
def _opened() -> Generator[WebhookEndpoints]:
    from atom_stripe.client import StripeClient

    with StripeClient() as client:
        yield WebhookEndpoints(client)


def _found(endpoints: WebhookEndpoints, endpoint: str) -> RegisteredEndpoint:
    """Return the endpoint that is meant. A misspelled one is told of, and the user of a terminal sees what the question is about."""
    for one in endpoints.list():
        if one.id == endpoint:
            return one
    note(f"There is no webhook endpoint {endpoint} in this mode of the account.")
    raise typer.Exit(1)


def _finished(
    endpoints: WebhookEndpoints, new: RegisteredEndpoint, database_url: str | None, *, delete: bool, force: bool
) -> RollOver:
    if force:
        return endpoints.finish_roll_over(new, delete=delete, force=True)
    from atom_stripe.stores.sql import SqlInboxStore

    flow = endpoints._flow  # noqa: SLF001 - of this package; here is the store of an inbox, and no inbox
    with SqlInboxStore.from_url(settings.database_url(database_url)) as store:
        return run(flow.finish_roll_over(new, store, delete=delete, force=False))


def _types(events: list[str] | None) -> list[str]:
    return [name for text in events or () for each in text.split(",") if (name := each.strip())]


def _where(one: RegisteredEndpoint) -> str:
    return f"{one.url}, in {'live' if one.livemode else 'test'} mode"


def _print_ensured(done: EnsuredEndpoint, *, json: bool) -> None:
    secret = None if done.secret is None else done.secret.get_secret_value()
    if json:
        emit({"endpoint": document(done.endpoint), "created": done.created, "changed": done.changed, "secret": secret})
    else:
        shown = dict(_values(done.endpoint))
        pairs({**shown, **({} if secret is None else {"secret": secret})}.items())
    if secret is not None:
        note(_STORE_IT)
    elif done.created:
        note("Stripe did not show its signing secret. Delete the endpoint and create it again.")
        raise typer.Exit(1)
    else:
        note(
            f"It was there; changed: {', '.join(done.changed) or 'nothing'}. Its secret is the one that Stripe showed when it was made."
        )


def _print_one(one: RegisteredEndpoint, *, json: bool) -> None:
    if json:
        emit(document(one))
    else:
        pairs(_values(one))


def _print_rolled(done: RollOver, *, json: bool) -> None:
    if json:
        emit({"finished": done.finished, "reason": done.reason, "old": document(done.old), "new": document(done.new)})
    elif done.finished:
        say(f"{done.new.id} has taken the place of {done.old.id}")
    if not done.finished:
        note(f"{done.old.id} was left as it is: {done.reason}")
        raise typer.Exit(1)
    note("Take the secret of the old one out of STRIPE_WEBHOOK_SECRET in a few days, when nothing of it is on its way any more.")


def _values(one: RegisteredEndpoint) -> list[tuple[str, Any]]:
    values: dict[str, Any] = {
        "id": one.id,
        "status": _status(one),
        "mode": "live" if one.livemode else "test",
        "events of": _of(one),
        "api version": one.api_version or "your account's",
        "url": one.url,
        "enabled events": ", ".join(one.enabled_events),
        "description": one.description,
    }
    return [*values.items(), *([("replaces", one.replaces)] if one.replaces else [])]


def _line(one: RegisteredEndpoint) -> tuple[object, ...]:
    events = ", ".join(one.enabled_events[:_SHOWN])
    more = len(one.enabled_events) - _SHOWN
    if more > 0:
        events += f", and {counted(more, 'more', 'more')}"
    mode = "live" if one.livemode else "test"
    return one.id, _status(one), mode, _of(one), one.api_version or "account's", one.url, events


def _status(one: RegisteredEndpoint) -> str:
    return "enabled" if one.enabled else "disabled"


def _of(one: RegisteredEndpoint) -> str:
    return {True: "connected accounts", False: "your account", None: "unknown"}[one.connect]
