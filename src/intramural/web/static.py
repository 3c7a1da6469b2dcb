"""Serves the built page. Files are read into memory once: a client's path is only ever looked up in a table."""

import hashlib
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

#: Where `npm run build` in `ui/` puts its output; the wheel carries it.
DIST = Path(__file__).parent / "dist"

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
)

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-DNS-Prefetch-Control": "off",  # a name that is looked up tells somebody as well
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

#: Names that change with their content may be kept for ever; everything else is asked for again (and mostly a 304).
FOREVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
_HASHED = re.compile(r"assets/[^/]+-[A-Za-z0-9_-]{8}\.[a-z0-9]+")

#: Not taken from the system's tables: with nosniff, a wrong type is a page that stays blank.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}

_NOT_BUILT = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>intramural</title></head>
<body>
<h1>The page is not built</h1>
<p>The service is running and its API answers, but the files of this page are missing.</p>
<p>Type <code>make ui</code> in the repository (or <code>npm ci &amp;&amp; npm run build</code> in <code>ui/</code>),
then reload. There is no need to restart.</p>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class File:
    """One file, ready to be sent. `gzipped` is None where compressing gained nothing."""

    content: bytes
    gzipped: bytes | None
    media_type: str
    etag: str
    cache: str


def read(dist: Path) -> dict[str, File]:
    """Every file under `dist` by its path from there (`index.html`, `assets/…`); empty where nothing was built."""
    if not (dist / "index.html").is_file():
        return {}
    contents = {path.relative_to(dist).as_posix(): path.read_bytes() for path in dist.rglob("*") if path.is_file()}
    return {name: _file(name, contents) for name in contents if not name.endswith(".gz")}


def _file(name: str, contents: Mapping[str, bytes]) -> File:
    suffix = PurePosixPath(name).suffix
    return File(
        content=contents[name],
        gzipped=contents.get(f"{name}.gz"),
        media_type=_TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream",
        etag=f'"{hashlib.sha256(contents[name]).hexdigest()[:32]}"',
        cache=FOREVER if _HASHED.fullmatch(name) else ASK_AGAIN,
    )


class Page:
    """ASGI application: the page at `/` and its files. Answers GET and HEAD; 503 with advice while nothing is built."""

    def __init__(self, dist: Path = DIST) -> None:
        self._dist = dist
        self._files = read(dist)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _send(scope, send, 405, b"Only GET and HEAD here.\n", {"Allow": "GET, HEAD"})
            return
        if not self._files:
            self._files = read(self._dist)
        name = _name(scope)
        file = self._files.get(name)
        if file is not None:
            await _send_file(scope, send, file)
        elif not self._files and name == "index.html":
            headers = {"Content-Type": _TYPES[".html"], "Cache-Control": "no-store", "Retry-After": "5"}
            await _send(scope, send, 503, _NOT_BUILT.encode(), headers)
        else:
            await _send(scope, send, 404, b"There is no such file.\n")


def _name(scope: Scope) -> str:
    """The table's key for a request."""
    path: str = scope["path"]
    return path.removeprefix("/") or "index.html"


async def _send_file(scope: Scope, send: Send, file: File) -> None:
    asked = Headers(scope=scope)
    headers = {"Content-Type": file.media_type, "Cache-Control": file.cache, "ETag": file.etag}
    if file.gzipped is not None:
        headers["Vary"] = "Accept-Encoding"
    if file.etag in (tag.strip().removeprefix("W/") for tag in asked.get("if-none-match", "").split(",")):
        await _send(scope, send, 304, b"", headers)
        return
    body = file.content
    if file.gzipped is not None and _takes_gzip(asked.get("accept-encoding", "")):
        body = file.gzipped
        headers["Content-Encoding"] = "gzip"
    await _send(scope, send, 200, body, headers)


def _takes_gzip(accept: str) -> bool:
    for part in accept.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


async def _send(scope: Scope, send: Send, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    named = {"Content-Type": "text/plain; charset=utf-8", **SECURITY_HEADERS, **(headers or {})}
    if status != 304:
        named["Content-Length"] = str(len(body))
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
