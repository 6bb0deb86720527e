"""
Installs of the sandbox's Stripe App on accounts.

Only what the app's developer does to connected accounts is here. Source: https://docs.stripe.com/api/apps/installs
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atom_stripe.testing._state import grants
from atom_stripe.testing._state.errors import invalid, no_such, unsupported
from atom_stripe.testing._state.pages import CREATED, PAGE, equal, page, within
from atom_stripe.testing._state.params import Boolean, Choice, Id, Text
from atom_stripe.testing._state.routing import route
from atom_stripe.testing._state.store import copied, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atom_stripe.testing._state.grants import Applications
    from atom_stripe.testing._state.routing import Call
    from atom_stripe.testing._state.store import Row
    from atom_stripe.testing._state.transaction import Transaction

INSTALL = "apps.install"
CHANNELS = ("private_live", "private_test", "public", "testing")
STATUSES = ("install_failed", "installed", "installing", "uninstall_failed", "uninstalling")

_CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def install(work: Transaction, platform: str, applications: Applications, channel: str = "public") -> Row:
    """Install the app on the account, unless it is there already, and return the install."""
    found = current(work)
    if found is not None:
        return found
    row = work.add(
        {
            "id": f"appinst_{work.ids.token('appinst', 24)}",
            "object": INSTALL,
            "account": work.account.id,
            "app": applications.app_id,
            "approval_required": False,
            "auth_code": None,
            "channel": channel,
            "content_security_policy_granted": {"connect_src": [], "image_src": []},
            "content_security_policy_pending": {"connect_src": [], "image_src": []},
            "created": work.now,
            "created_by": None,
            "endpoints_granted": [],
            "endpoints_pending": [],
            "livemode": False,
            "permissions_granted": ["event_read"],
            "permissions_pending": [],
            "status": "installed",
        }
    )
    work.emit("apps.install.created", row)
    work.after(grants.admitted(platform, applications, applications.app_client_id))
    return row


def uninstall(work: Transaction, platform: str, applications: Applications, row: Row) -> Row:
    """Take the app off the account and return the install as it was last. Its tokens end with it."""
    last: Row = copied(shown(row))
    last["status"] = "uninstalling"
    work.change(row).update(deleted=True)
    work.emit("apps.install.deleted", last)
    work.after(grants.dismissed(platform, applications, applications.app_client_id))
    return last


def current(work: Transaction) -> Row | None:
    """Return the install on the account, if there is one."""
    return next((row for row in work.rows(INSTALL) if not row.get("deleted")), None)


@route(
    "POST",
    "/v1/apps/installs",
    {
        "app": Id(required=True),
        "channel": Choice(CHANNELS),
        "code_challenge": Text(unsettable=False),
        "code_challenge_method": Text(unsettable=False),
    },
)
def create(call: Call) -> Row:
    applications = call.machine.applications
    if call.params["app"] != applications.app_id:
        raise no_such("app", call.params["app"], "app")
    if call.account is call.machine.account:
        raise unsupported("Installing a private app on the account that made it")
    channel = call.params.get("channel", "public")
    if channel.startswith("private_"):
        raise invalid("A private app can be installed only by the account that it belongs to.", "channel")
    challenge = _challenge(call)
    row = install(call, call.machine.account.id, applications, channel)
    return _with_code(call, row, challenge)


@route(
    "GET",
    "/v1/apps/installs",
    {
        **PAGE,
        "account": Id(),
        "app": Id(),
        "approval_required": Boolean(),
        "channel": Choice(CHANNELS),
        "created": CREATED,
        "created_by": Id(),
        "status": Choice(STATUSES),
    },
)
def list_all(call: Call) -> Row:
    names = ("account", "app", "approval_required", "channel", "created_by", "status")
    return page(
        _visible(call),
        call.params,
        kind=INSTALL,
        url=call.path,
        where=lambda row: equal(row, call.params, *names) and within(row["created"], call.params.get("created")),
    )


@route("GET", "/v1/apps/installs/{id}")
def retrieve(call: Call) -> Row:
    for row in _visible(call):
        if row["id"] == call.arguments["id"]:
            return row
    raise no_such(INSTALL, call.arguments["id"])


@route("POST", "/v1/apps/installs/{id}")
def update(call: Call) -> Row:
    """Authorize the app again: there is nothing new to authorize here, so all that comes of it is a new code."""
    row = call.change(call.find(INSTALL, call.arguments["id"]))
    call.emit("apps.install.updated", row)
    return _with_code(call, row, None)


@route("POST", "/v1/apps/installs/{id}/uninstall")
def remove(call: Call) -> Row:
    row = call.find(INSTALL, call.arguments["id"])
    return uninstall(call, call.machine.account.id, call.machine.applications, row)


def _visible(call: Call) -> Iterator[Row]:
    """Yield the installs that a request may see, newest first: the developer sees those on all accounts."""
    machine = call.machine
    accounts = list(machine.accounts.values()) if call.account is machine.account else [call.account]
    rows = [row for account in accounts for row in account.table(INSTALL).values() if not row.get("deleted")]
    rows.sort(key=lambda row: row["created"])
    yield from reversed(rows)


def _challenge(call: Call) -> str | None:
    challenge: str | None = call.params.get("code_challenge")
    method = call.params.get("code_challenge_method")
    if (challenge is None) != (method is None):
        raise invalid("Send code_challenge and code_challenge_method together.", "code_challenge")
    if challenge is not None and not _CHALLENGE.fullmatch(challenge):
        raise invalid("A code_challenge has 43 to 128 letters, digits or signs of -._~", "code_challenge")
    if method not in {None, "S256"}:
        raise invalid("The code_challenge_method must be S256.", "code_challenge_method")
    return challenge


def _with_code(call: Call, row: Row, challenge: str | None) -> Row:
    """Return the install with a code, which is in this answer and nowhere else."""
    applications, account = call.machine.applications, call.account.id
    code = f"ac_{call.ids.token('ac', 32)}"

    def keep(own: Transaction) -> None:
        grants.keep_code(own, code, applications.app_client_id, account, grants.APP_SCOPE, challenge=challenge)

    call.after(keep, call.machine.account.id)
    return {**shown(row), "auth_code": code}
