"""Items as lists in pages, and what of them is shown only where it was asked for."""

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from intramural.http.checks import bad
from intramural.http.openai import paging
from intramural.http.openai.responses.items import Item
from intramural.http.openai.responses.shapes import INCLUDED

QUERY = ("after", "limit", "order", "include", "include[]")
IMAGE_URLS = "message.input_image.image_url"


def page(request: Request, items: Sequence[Item]) -> dict[str, Any]:
    """The page of `items` (oldest first) that `request` asks for. Raises Misasked naming the parameter."""
    wanted = paging.page(request, default=20, most=100, also=("include", "include[]"))
    included = includes(request)
    ordered = list(reversed(items)) if wanted.newest_first else list(items)
    if wanted.after is not None:
        place = next((n for n, item in enumerate(ordered) if item["id"] == wanted.after), None)
        if place is None:
            raise bad("after", "There is no such item in this list.", "Begin at its beginning.")
        ordered = ordered[place + 1 :]
    shown = [item if IMAGE_URLS in included else without_images(item) for item in ordered[: wanted.limit + 1]]
    return listed(shown, wanted.limit)


def listed(items: Sequence[Item], limit: int) -> dict[str, Any]:
    """Items as a list object. Its ends are texts also where it is empty: the client's types insist."""
    made = paging.listed(items, limit)
    return {**made, "first_id": made["first_id"] or "", "last_id": made["last_id"] or ""}


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
