"""Talking to a house through its private socket: the running one, else one opened for this command."""

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from intramural.core.config import Config
from intramural.core.console import console_address
from intramural.core.errors import Broken, Conflicting, Flawed, IntramuralError, Misasked, Missing, Unavailable

#: A house that does not take a connection for this long is none.
_CONNECT_S = 5.0


class Client:
    """HTTP over the private socket, as the machine's administrator."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str, **query: Any) -> Any:
        given = {k: str(v) for k, v in query.items() if v is not None}
        return await self._whole("GET", path, params=given)

    async def text(self, path: str, query: Sequence[tuple[str, str]] = ()) -> str:
        """An answer as it is written."""
        async with self._session.get(_url(path), params=list(query)) as response:
            await _checked(response)
            return await response.text("utf-8")

    async def raw(self, path: str, **query: Any) -> AsyncIterator[bytes]:
        """An answer's bytes, as they come."""
        given = {k: str(v) for k, v in query.items() if v is not None}
        async with self._session.get(_url(path), params=given) as response:
            await _checked(response)
            async for piece in response.content.iter_any():
                yield piece

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return await self._whole("POST", path, json=body)

    async def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._whole("PATCH", path, json=body)

    async def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._whole("PUT", path, json=body)

    async def delete(self, path: str) -> Any:
        return await self._whole("DELETE", path)

    async def events(self, path: str, body: Mapping[str, Any] | None = None) -> AsyncIterator[dict[str, Any]]:
        """The `data:` objects of an event stream, until `[DONE]`; an error object is raised. GET without a body."""
        async with self._session.request("GET" if body is None else "POST", _url(path), json=body) as response:
            async for value in _events(response):
                yield value

    async def sent(self, path: str, data: bytes, query: Sequence[tuple[str, str]]) -> AsyncIterator[dict[str, Any]]:
        """As `events`, of what is answered to `data` as it is."""
        headers = {"Content-Type": "application/octet-stream"}
        async with self._session.post(_url(path), data=data, params=list(query), headers=headers) as response:
            async for value in _events(response):
                yield value

    async def _whole(self, method: str, path: str, **kwargs: Any) -> Any:
        async with self._session.request(method, _url(path), **kwargs) as response:
            await _checked(response)
            body = await response.read()
            return msgspec.json.decode(body) if body else None


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    await _checked(response)
    rest = b""
    async for part in response.content.iter_any():  # an event may be longer than a line that aiohttp would read
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
                continue
            value = msgspec.json.decode(line[6:])
            if "error" in value:
                raise _error(response.status, value["error"])
            yield value


def _url(path: str) -> str:
    return f"http://localhost{quote(path, safe='/:')}"


async def _checked(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        body = await response.read()
        try:
            detail = msgspec.json.decode(body)["error"]
        except (msgspec.DecodeError, KeyError, TypeError):
            detail = {"code": "bad_answer", "message": f"The service answered {response.status}.", "hint": ""}
        raise _error(response.status, detail)


def _error(status: int, detail: Mapping[str, Any]) -> IntramuralError:
    message = str(detail.get("message", ""))
    hint = str(detail.get("hint", ""))
    code = str(detail.get("code", ""))
    if problems := detail.get("problems"):
        return Flawed(code, message, hint, problems=tuple(problems))
    kind = Misasked if status < 500 else Unavailable if status == 503 else Broken
    return kind(code, message.removesuffix(hint).strip(), hint)


@asynccontextmanager
async def connected(config: Config, *, running: bool = False) -> AsyncIterator[Client]:
    """A client of the running house, or of one that is opened now and closed afterwards.

    With `running`, raises Missing(`service_not_running`) instead of opening one.
    """
    if _is_answered(config):
        async with _session(config) as client:
            yield client
        return
    if running:
        raise Missing("service_not_running", f"Nothing serves {config.data_dir}.", "Start `intramural serve`.")
    # Imported here: a command that asks the running house need not wait for another one.
    from intramural import app

    try:
        async with app.opened(config) as house, app.console(house), _session(config) as client:
            await app.shelve_starter(house, lambda _: None)
            yield client
    except Conflicting as error:  # one that is not answering yet
        if error.code != "data_dir_in_use":
            raise
        async with _session(config) as client:
            yield client


def _is_answered(config: Config) -> bool:
    with suppress(OSError), console_address(config.data_dir) as address, socket.socket(socket.AF_UNIX) as there:
        there.settimeout(_CONNECT_S)
        there.connect(address)
        return True
    return False


@asynccontextmanager
async def _session(config: Config) -> AsyncIterator[Client]:
    with console_address(config.data_dir) as address:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
        connector = aiohttp.UnixConnector(address)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield Client(session)
