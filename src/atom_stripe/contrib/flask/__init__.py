"""
The routes as a blueprint of Flask's.

    app.register_blueprint(create_blueprint(client=stripe, oauth=manager, inbox=inbox, authorize=current_user), url_prefix="/api/v1/stripe")
"""

from __future__ import annotations

from atom_stripe._extras import require

with require("flask", extra="flask"):
    from atom_stripe.contrib.flask.blueprint import create_blueprint

from atom_stripe.service import Caller, ServiceConfig

__all__ = ["Caller", "ServiceConfig", "create_blueprint"]
