"""``atom-stripe token``: what a caller of the reference application shows."""

from __future__ import annotations

import os
import time
from typing import Annotated

from atom_stripe._extras import require
from atom_stripe.cli import environment
from atom_stripe.cli.environment import EnvFile  # noqa: TC001 - typer reads it
from atom_stripe.cli.options import Json, UserId  # noqa: TC001 - typer reads them
from atom_stripe.cli.output import emit, note, say
from atom_stripe.errors import ConfigurationError

with require("typer", extra="cli"):
    import typer

_YEAR = 366 * 24 * 3600


def token(
    user_id: UserId,
    *,
    platform: Annotated[bool, typer.Option("--platform", help="Let its bearer act for the platform's own account.")] = False,
    operator: Annotated[bool, typer.Option("--operator", help="Let its bearer see /health/detailed and /metrics.")] = False,
    expires: Annotated[
        int, typer.Option("--expires", metavar="SECONDS", min=1, max=_YEAR, help="For how long it is valid.")
    ] = 3600,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """
    Print a bearer token for `atom-stripe serve`, signed with SECRET_KEY. Whoever has it is that user.

    Your own login makes such tokens, too: a JWT with HS256, and the claims sub and exp.
    """
    with environment.loaded(env_file):
        key = os.environ.get("SECRET_KEY", "").strip()
        if not key:
            msg = "SECRET_KEY is not set, which signs tokens: `atom-stripe init` makes one"
            raise ConfigurationError(msg)
        from atom_stripe.contrib.fastapi import BearerTokens

        made = BearerTokens(key).mint(user_id, platform=platform, operator=operator, expires_in=expires)
        connects = bool(os.environ.get("STRIPE_CLIENT_ID", "").strip())
    if json:
        emit(
            {
                "token": made,
                "user_id": user_id,
                "platform": platform,
                "operator": operator,
                "expires_at": int(time.time()) + expires,
            }
        )
    else:
        say(made)
    if not (connects or platform):
        note(
            "Without STRIPE_CLIENT_ID users have no accounts of their own to act for, and this token opens nothing: say --platform"
        )
