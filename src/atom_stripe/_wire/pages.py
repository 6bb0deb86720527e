"""Which request brings the next page of a list. Lists page by cursor, searches by token, v2 lists by URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atom_stripe._wire.paths import check_path
from atom_stripe.errors import EncodingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atom_stripe._wire.operation import Operation
    from atom_stripe.models.base import StripeModel


def next_page(operation: Operation, path: str, params: Mapping[str, Any], page: StripeModel) -> tuple[str, dict[str, Any]] | None:
    """
    Return the path and the parameters of the page after *page*, or ``None`` if it was the last.

    *path* and *params* are those that brought *page*. With ``ending_before`` the pages go towards newer objects, otherwise towards older ones.
    Source: https://docs.stripe.com/api/pagination
    """
    if operation.version == 2:
        url = _next_url(path, getattr(page, "next_page_url", None))
        if url is None:
            return None
        # The query of the URL says it all, but what a search looks for is in its body.
        return url, {name: value for name, value in params.items() if name != "limit"} if operation.searches else {}
    data = getattr(page, "data", None)
    if not getattr(page, "has_more", None) or not isinstance(data, list) or not data:
        return None
    if operation.searches:
        token = getattr(page, "next_page", None)
        return (path, {**params, "page": token}) if isinstance(token, str) and token else None
    backward = params.get("ending_before") is not None
    cursor = getattr(data[0] if backward else data[-1], "id", None)
    if not isinstance(cursor, str) or not cursor:
        return None
    kept = {name: value for name, value in params.items() if name not in ("starting_after", "ending_before")}
    return path, {**kept, "ending_before" if backward else "starting_after": cursor}


def _next_url(path: str, url: object) -> str | None:
    # The URL comes from an answer, so it may only lead on through the list that was asked for.
    if not isinstance(url, str) or url.partition("?")[0] != path.partition("?")[0]:
        return None
    try:
        return check_path(url)
    except EncodingError:
        return None
