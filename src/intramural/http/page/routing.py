"""Where the page's routes begin."""

from typing import Any

from fastapi import APIRouter

PREFIX = "/intramural/v1"
#: What each of them may answer besides.
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Client Error"},
    "5XX": {"description": "Server Error"},
}


def routes(tag: str, under: str = "") -> APIRouter:
    """An empty list of routes, below `under`. They are made once, whole: `include_router` would make each anew."""
    return APIRouter(prefix=PREFIX + under, tags=[tag], responses=ERRORS)
