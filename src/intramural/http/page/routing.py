"""Where the page's routes begin."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import compile_path, get_name

PREFIX = "/intramural/v1"
#: What each of them may answer besides.
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Client Error"},
    "5XX": {"description": "Server Error"},
}


class _Route(APIRoute):
    """A route that is known by its path and methods, and looks at what its endpoint wants when it is first asked for or
    described. To do so for all of them took half of what it takes to open a house, at every start and command.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], *, methods: Any = None, **given: Any) -> None:
        self._given = {"methods": methods, **given}
        self.path, self.endpoint, self.name = path, endpoint, given.get("name") or get_name(endpoint)
        self.methods = {each.upper() for each in methods or ("GET",)}
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there yet: then all of it comes."""
        if name.startswith("__") or "_given" not in vars(self):
            raise AttributeError(name)
        super().__init__(self.path, self.endpoint, **vars(self).pop("_given"))
        return getattr(self, name)


def routes(tag: str, under: str = "") -> APIRouter:
    """An empty list of routes, below `under`. They are made once, whole: `include_router` would make each anew."""
    return APIRouter(prefix=PREFIX + under, tags=[tag], responses=ERRORS, route_class=_Route)
