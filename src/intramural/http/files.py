"""`/v1/files`, which two dialects share: whoever sends `anthropic-version` is answered in Anthropic's form."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from intramural.http.anthropic import door
from intramural.http.anthropic import files as anthropic
from intramural.http.doors import Doors
from intramural.http.openai import files as openai
from intramural.http.operations import Operation


def operations(doors: Doors) -> list[Operation]:
    """Storing files, listing, reading and deleting them."""
    other = {(each.method, each.path): each for each in anthropic.operations(doors)}
    return [_either(each, other[each.method, each.path]) for each in openai.operations(doors)]


def _either(plain: Operation, versioned: Operation) -> Operation:
    """One operation of both dialects. What they have in common in a form or a query is described once."""

    async def endpoint(request: Request) -> Response:
        return await (versioned if door.is_meant(request) else plain).endpoint(request)

    multipart = None if plain.multipart is None else {**plain.multipart, **(versioned.multipart or {})}
    query = tuple(dict.fromkeys((*plain.query, *versioned.query)))
    return replace(plain, endpoint=endpoint, query=query, multipart=multipart)
