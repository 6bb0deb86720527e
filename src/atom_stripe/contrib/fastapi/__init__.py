"""
The routes as a router of FastAPI's.

    app.include_router(create_router(client=stripe, oauth=manager, inbox=inbox, authorize=current_user), prefix="/api/v1/stripe")
"""

from __future__ import annotations

from atom_stripe._extras import require

with require("fastapi", extra="fastapi"):
    from atom_stripe.contrib.fastapi.router import create_router

from atom_stripe.service import Caller, ServiceConfig

__all__ = ["Caller", "ServiceConfig", "create_router"]
