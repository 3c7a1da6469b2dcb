"""Lists in pages, as OpenAI's API has them: `limit`, `after`, `order`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from intramural.core.errors import Misasked


@dataclass(frozen=True, slots=True)
class Page:
    """Which page is wanted: at most `limit` things, those that come behind the one named `after`."""

    limit: int
    after: str | None
    newest_first: bool


def page(request: Request, *, default: int, most: int, also: Collection[str] = ()) -> Page:
    """What the query asks for; `also` names parameters of the route's own. Raises Misasked naming the parameter."""
    query = request.query_params
    for name in query:
        if name not in ("limit", "after", "order", *also):
            raise Misasked("unknown_parameter", f"There is no parameter {name[:64]!r}.", "Leave it out.", param=name)
    limit, order = query.get("limit", str(default)), query.get("order", "desc")
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 10 and 1 <= int(limit) <= most):
        raise Misasked("bad_parameter", f"`limit` must be from 1 to {most}.", "Ask for pages.", param="limit")
    if order not in ("asc", "desc"):
        raise Misasked("bad_parameter", "`order` is out of bounds.", "Use `asc` or `desc`.", param="order")
    return Page(int(limit), query.get("after"), order == "desc")


def listed(things: Sequence[dict[str, Any]], limit: int) -> dict[str, Any]:
    """`things` (one more than `limit` where there is another page) as a list object."""
    data = list(things[:limit])
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"object": "list", "data": data, **ends, "has_more": len(things) > limit}
