"""The one URL that Stripe would post to."""

from __future__ import annotations

from typing import Any

from django.urls import include, path

urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]


def deferred(_trigger: Any, **_options: Any) -> None:
    """Leave the event to a task queue, which would find it in its row. Putting it there is not counted."""
