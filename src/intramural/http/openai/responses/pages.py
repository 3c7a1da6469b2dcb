"""Lists in pages, as OpenAI has them: `limit`, `order`, and `after` the identifier of the last item that was seen."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from intramural.http.openai.responses.checks import bad
from intramural.http.openai.responses.items import Item
from intramural.http.openai.responses.shapes import INCLUDED

QUERY = ("after", "limit", "order", "include", "include[]")
IMAGE_URLS = "message.input_image.image_url"
_MAX_LIMIT = 100


def page(request: Request, items: Sequence[Item]) -> dict[str, Any]:
    """The page of `items` (oldest first) that `request` asks for. Raises Misasked naming the parameter."""
    limit, newest_first, after = _limit(request), _newest_first(request), request.query_params.get("after")
    included = includes(request)
    ordered = list(reversed(items)) if newest_first else list(items)
    if after is not None:
        place = next((n for n, item in enumerate(ordered) if item["id"] == after), None)
        if place is None:
            raise bad("after", "There is no such item in this list.", "Begin at its beginning.")
        ordered = ordered[place + 1 :]
    shown = [item if IMAGE_URLS in included else without_images(item) for item in ordered[:limit]]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else "",
        "last_id": shown[-1]["id"] if shown else "",
        "has_more": len(ordered) > limit,
    }


def includes(request: Request) -> frozenset[str]:
    """The values of `include`. Raises Misasked for one that the specification does not know."""
    query = request.query_params
    given = frozenset([*query.getlist("include"), *query.getlist("include[]")])
    for each in sorted(given - INCLUDED):
        raise bad("include", f"{each[:64]!r} cannot be included.", "See the API reference.")
    return given


def without_images(item: Item) -> Item:
    """`item` with its images named, but without their bytes."""
    content = item.get("content")
    if item["type"] != "message" or not any(part["type"] == "input_image" for part in content or ()):
        return item
    parts = [{**part, "image_url": None} if part["type"] == "input_image" else part for part in content or ()]
    return {**item, "content": parts}


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "20")
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= _MAX_LIMIT):
        raise bad("limit", f"`limit` is {text[:16]!r}.", f"It is a number from 1 to {_MAX_LIMIT}.")
    return int(text)


def _newest_first(request: Request) -> bool:
    order = request.query_params.get("order", "desc")
    if order not in ("asc", "desc"):
        raise bad("order", f"`order` is {order[:16]!r}.", "It is `asc` or `desc`.")
    return order == "desc"
