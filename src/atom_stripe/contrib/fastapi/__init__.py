"""
The routes as a router of FastAPI's, and a whole service around them.

    app.include_router(create_router(client=stripe, oauth=manager, inbox=inbox, authorize=current_user), prefix="/api/v1/stripe")
    app = create_app()  # all of it, from the environment
"""

from __future__ import annotations

from atom_stripe._extras import require

with require("fastapi", extra="fastapi"):
    from atom_stripe.contrib.fastapi.application import create_app
    from atom_stripe.contrib.fastapi.bearer import BearerTokens
    from atom_stripe.contrib.fastapi.router import create_router

from atom_stripe.service import Caller, ServiceConfig

__all__ = ["BearerTokens", "Caller", "ServiceConfig", "create_app", "create_router"]
