"""HTTP as the sources need it: small answers bounded, large ones resumed, every host asked for leave first.

Certificates are always checked, the environment is never read (no proxies, no `.netrc`), and what is secret goes to the
one origin it was given for. Connections are handed to it (`Reach.connect`); it makes none. Plain `http` is for this
machine only. Import this module lazily: `httpx2` is slow to load.
"""

import asyncio
import contextlib
import datetime
import email.utils
import hashlib
import ipaddress
import math
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass

import httpx2
import msgspec

from intramural import __version__
from intramural.core.errors import Broken, IntramuralError, Misasked, Missing, Refused, Unavailable, Untrusted
from intramural.library.sources.reach import Allow, Limits, Reach
from intramural.library.sources.transport import OverConnections
from intramural.library.threads import in_thread

USER_AGENT = f"intramural/{__version__}"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_DENIED = frozenset({401, 403, 407, 451})
_GONE = frozenset({404, 410})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
#: A name or an address as it may stand in a URL; the parser alone would take `%5b` for one.
_HOST = re.compile(rb"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
#: So much must have come before a further failure counts as the first one again.
_PROGRESS_BYTES = 64 << 10
_DAY_S = 86_400.0
#: What comes within so long is handed on together, up to so much: every piece costs a thread its turn, and a connection
#: gives 16 to 64 KB at a time.
_GATHER_S = 0.05
_GATHER_BYTES = 512 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """A small answer, complete. `url` is where it came from in the end, without its query (which may be secret)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def digest(self) -> str:
        """Of the body: `sha256:<64 hex>`."""
        return f"sha256:{hashlib.sha256(self.body).hexdigest()}"

    def json(self) -> object:
        """The body as JSON. Raises Broken(`source_bad_answer`)."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Broken("source_bad_answer", f"{self.url} did not answer in JSON.", "Check the address.") from error

    def text(self) -> str:
        """The body as UTF-8. Raises Broken(`source_bad_answer`)."""
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise Broken("source_bad_answer", f"{self.url} did not answer in text.", "Check the address.") from error


@dataclass(frozen=True, slots=True)
class Probe:
    """What a server says of a file without sending it."""

    size_bytes: int | None
    etag: str | None
    takes_ranges: bool


class Web:
    """Asks servers. One object may be used by many tasks of one event loop; nothing stays open between calls.

    `allow` is asked for every host before it is contacted, also those a server redirects to. All methods raise what
    it raises, and Misasked(`bad_url`, `bad_ca_file`), Refused(`redirect_refused`, `source_denied`),
    Missing(`source_not_found`), Unavailable(`source_unreachable`, `source_busy`, `source_stalled`),
    Untrusted(`bad_tls`), Broken(`source_bad_answer`).
    """

    def __init__(self, allow: Allow, reach: Reach | None = None) -> None:
        self._reach = reach or Reach()
        self._allow = self._reach.allow or allow
        self._limits = self._reach.limits
        self._context: ssl.SSLContext | None = None

    async def ask(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        secret: str | None = None,
        body: bytes | None = None,
        max_bytes: int | None = None,
        statuses: Collection[int] = (200,),
        follow: bool = True,
    ) -> Answer:
        """One small answer whose status is one of `statuses`; at most `max_bytes` of body (default: the limits').

        `secret` is the value of `Authorization`, sent to the origin of `url` and to no other; `headers` go along with
        redirects. Only GET and HEAD are redirected. Raises Untrusted(`source_too_long`) for a larger body.
        """
        asked = _Asked(
            _checked_url(url), method, dict(headers or {}), secret, body, follow and method in ("GET", "HEAD")
        )
        limit_bytes = self._limits.small_bytes if max_bytes is None else max_bytes
        tries = _Tries(self._limits)
        while True:
            try:
                return await self._ask_once(asked, statuses, limit_bytes)
            except _AgainError as again:
                await tries.wait(again)

    async def probe(self, url: str) -> Probe:
        """Size and ETag of the file at `url`: by HEAD, or where that says nothing by asking for its first byte."""
        head = await self.ask(url, method="HEAD", statuses=(200, 400, 403, 405, 501))
        size_bytes = _length(head.headers)
        if head.status == 200 and size_bytes is not None:
            return Probe(size_bytes, head.headers.get("etag"), head.headers.get("accept-ranges") == "bytes")
        asked = _Asked(_checked_url(url), "GET", {"Range": "bytes=0-0"}, None, None, True)
        tries = _Tries(self._limits)
        while True:
            try:
                async with self._answered(asked, (200, 206)) as response:
                    return _probed(response)
            except _AgainError as again:
                await tries.wait(again)

    async def read(
        self,
        url: str,
        *,
        offset: int,
        size_bytes: int,
        headers: Mapping[str, str] | None = None,
        secret: str | None = None,
    ) -> bytes:
        """At most `size_bytes` (which the small limit bounds) of the file at `url` from `offset` on.

        From a server that knows no ranges only the beginning can be read: Broken(`no_ranges`).
        """
        if not 0 < size_bytes <= self._limits.small_bytes:
            raise ValueError("read() is for small pieces")
        wanted = {**(headers or {}), "Range": f"bytes={offset}-{offset + size_bytes - 1}"}
        asked = _Asked(_checked_url(url), "GET", wanted, secret, None, True)
        tries = _Tries(self._limits)
        while True:
            try:
                return await self._read_once(asked, offset, size_bytes)
            except _AgainError as again:
                await tries.wait(again)

    async def stream(
        self,
        url: str,
        *,
        size_bytes: int,
        offset: int = 0,
        etag: str | None = None,
        headers: Mapping[str, str] | None = None,
        secret: str | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of the file at `url`, known to be `size_bytes` long, from `offset` on; never one more.

        A connection that breaks is taken up where it stopped (Range, and If-Range with the ETag of before). Raises
        Untrusted(`source_changed`: it is another file by now, `source_wrong_size`, `source_too_long`) and
        Broken(`source_ended_early`), besides what every method raises.
        """
        transfer = _Transfer(_checked_url(url), dict(headers or {}), secret, size_bytes, offset, etag)
        tries = _Tries(self._limits)
        while transfer.offset < size_bytes:
            before = transfer.offset
            try:
                async with contextlib.aclosing(self._stream_once(transfer)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except _AgainError as again:
                if transfer.offset - before >= _PROGRESS_BYTES:
                    tries.progressed()
                await tries.wait(again)

    async def send(
        self, url: str, body: AsyncIterator[bytes], *, size_bytes: int, secret: str | None = None, home: str
    ) -> None:
        """PUT `size_bytes` bytes to `url`, which must answer 201. Sent once: the caller has to begin anew.

        `secret` goes along only if `url` has the origin of `home`. Raises as every method.
        """
        checked = _checked_url(url)
        self._allow(_authority(checked))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
        if secret is not None and _origin(checked) == _origin(_checked_url(home)):
            headers["Authorization"] = secret
        try:
            async with await self._client() as client:
                with _network(_shown(checked)):
                    response = await client.put(checked, content=body, headers=headers)
                _judge(response, (201,))
        except _AgainError as again:
            raise again.error from again

    async def _ask_once(self, asked: "_Asked", statuses: Collection[int], limit_bytes: int) -> Answer:
        with self._in_time(asked.shown):
            async with asyncio.timeout(self._limits.answer_timeout_s), self._answered(asked, statuses) as response:
                body = bytearray()
                async with contextlib.aclosing(self._chunks(response)) as chunks:
                    async for chunk in chunks:
                        body += chunk
                        if len(body) > limit_bytes:
                            message = f"{_shown(response.url)} answered with more than {limit_bytes} bytes."
                            raise Untrusted("source_too_long", message, "Check the address.")
        return Answer(response.status_code, response.headers, bytes(body), _shown(response.url))

    async def _read_once(self, asked: "_Asked", offset: int, size_bytes: int) -> bytes:
        with self._in_time(asked.shown):
            async with asyncio.timeout(self._limits.answer_timeout_s), self._answered(asked, (200, 206)) as response:
                if response.status_code == 200 and offset:
                    raise Broken("no_ranges", f"{asked.shown} cannot be read in parts.", "Pull the whole file.")
                if response.status_code == 206 and _range(response)[0] != offset:
                    raise Untrusted("source_changed", f"{asked.shown} sent another part than asked for.")
                piece = bytearray()
                async with contextlib.aclosing(self._chunks(response)) as chunks:
                    async for chunk in chunks:
                        piece += chunk
                        if len(piece) >= size_bytes:
                            break
        return bytes(piece[:size_bytes])

    async def _stream_once(self, transfer: "_Transfer") -> AsyncGenerator[bytes, None]:
        async with self._answered(transfer.asked(), (200, 206, 416), in_time=True) as response:
            skip = transfer.begin(response)
            async with contextlib.aclosing(_gathered(self._chunks(response))) as chunks:
                async for chunk in chunks:
                    dropped, skip = min(skip, len(chunk)), max(0, skip - len(chunk))
                    if wanted := transfer.take(chunk[dropped:] if dropped else chunk):
                        yield wanted
        if transfer.offset < transfer.size_bytes:
            message = f"{transfer.shown} ended after {transfer.offset} of {transfer.size_bytes} bytes."
            raise _AgainError(Broken("source_ended_early", message, "Pull again: it goes on where it stopped."))

    @contextlib.asynccontextmanager
    async def _answered(
        self, asked: "_Asked", statuses: Collection[int], *, in_time: bool = False
    ) -> AsyncIterator[httpx2.Response]:
        """The answer with its body still to be read; every redirect followed and every status judged."""
        async with await self._client() as client:
            limit_s = self._limits.answer_timeout_s if in_time else None
            with self._in_time(asked.shown):
                async with asyncio.timeout(limit_s):
                    response = await self._send(client, asked)
            try:
                _judge(response, statuses)
                yield response
            finally:
                await response.aclose()

    async def _send(self, client: httpx2.AsyncClient, asked: "_Asked") -> httpx2.Response:
        url = asked.url
        self._allow(_authority(url))
        for _ in range(self._limits.redirects + 1):
            headers = dict(asked.headers)
            if asked.secret is not None and _origin(url) == _origin(asked.url):
                headers["Authorization"] = asked.secret
            request = client.build_request(asked.method, url, headers=headers, content=asked.body)
            with _network(_shown(url)):
                response = await client.send(request, stream=True)
            if not asked.follow or response.status_code not in _REDIRECTS:
                return response
            await response.aclose()
            url = self._redirected(url, response.headers.get("location", ""))
        raise Broken("source_bad_answer", f"{asked.shown} redirects without end.", "Check the address.")

    def _redirected(self, before: httpx2.URL, location: str) -> httpx2.URL:
        """Where `before` sends us, if we may go there. Raises Refused(`redirect_refused`)."""
        try:
            after = _checked_url(before.join(location))
        except (Misasked, httpx2.InvalidURL) as error:
            message = f"{_shown(before)} redirects to what is no address to fetch from."
            raise Refused("redirect_refused", message, "Tell whoever runs the source.") from error
        host = _authority(after)
        if after.scheme == "http" and before.scheme != "http":
            message = f"{_shown(before)} redirects to {host} without encryption."
            raise Refused("redirect_refused", message, "Tell whoever runs the source.")
        try:
            self._allow(host)
        except Refused as refused:
            message = f"{_shown(before)} redirects to {host}, which may not be contacted."
            raise Refused("redirect_refused", message, refused.hint) from refused
        return after

    async def _chunks(self, response: httpx2.Response) -> AsyncGenerator[bytes, None]:
        """The body as it comes; only waiting for the network counts as waiting."""
        if response.headers.get("content-encoding", "identity") != "identity":
            message = f"{_shown(response.url)} sent compressed data although none was asked for."
            raise Broken("source_bad_answer", message, "Tell whoever runs the source.")
        clock, shown = asyncio.get_running_loop().time, _shown(response.url)
        waited_s, arrived_bytes = 0.0, 0
        async with contextlib.aclosing(response.aiter_raw()) as raw:
            while True:
                began_s = clock()
                with _network(shown):
                    chunk = await anext(raw, None)
                if chunk is None:
                    return
                waited_s, arrived_bytes = waited_s + clock() - began_s, arrived_bytes + len(chunk)
                if waited_s >= self._limits.stall_timeout_s:
                    if arrived_bytes < self._limits.stall_bytes:
                        raise _stalled(shown)
                    waited_s, arrived_bytes = 0.0, 0
                yield chunk

    @contextlib.contextmanager
    def _in_time(self, shown: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise _stalled(shown) from error

    async def _client(self) -> httpx2.AsyncClient:
        limits = self._limits
        return httpx2.AsyncClient(
            transport=OverConnections(self._reach.connect, await self._trusted()),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(limits.stall_timeout_s, connect=limits.connect_timeout_s),
            follow_redirects=False,
            trust_env=False,
        )

    async def _trusted(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = await in_thread(_trust, self._reach)
        return self._context


async def _gathered(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same bytes in fewer pieces. What came before a failure is handed on before it."""
    clock, handed_s, pending = asyncio.get_running_loop().time, -math.inf, bytearray()
    async with contextlib.aclosing(chunks):
        try:
            async for chunk in chunks:
                pending += chunk
                if len(pending) >= _GATHER_BYTES or clock() - handed_s >= _GATHER_S:
                    yield bytes(pending)
                    pending.clear()
                    handed_s = clock()
        except _AgainError:
            if pending:
                yield bytes(pending)
            raise
        if pending:
            yield bytes(pending)


class _AgainError(Exception):
    """An attempt failed in a way that another may not. `error` is what to say when there is no other."""

    def __init__(self, error: IntramuralError, wait_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.wait_s = error, wait_s


class _Tries:
    """Counts failures without progress, and waits between them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._failed = 0

    def progressed(self) -> None:
        self._failed = 0

    async def wait(self, again: _AgainError) -> None:
        """Wait before the next attempt. Raises the error when there is to be none."""
        wait_s = self._limits.backoff_s * 2**self._failed if again.wait_s is None else again.wait_s
        self._failed += 1
        if self._failed >= self._limits.tries or wait_s > self._limits.longest_wait_s:
            raise again.error from again.__cause__
        await asyncio.sleep(wait_s)


@dataclass(frozen=True, slots=True)
class _Asked:
    url: httpx2.URL
    method: str
    headers: Mapping[str, str]
    secret: str | None
    body: bytes | None
    follow: bool

    @property
    def shown(self) -> str:
        return _shown(self.url)


@dataclass(slots=True)
class _Transfer:
    """A large file on its way: how far it is, and what identifies it."""

    url: httpx2.URL
    headers: dict[str, str]
    secret: str | None
    size_bytes: int
    offset: int
    etag: str | None

    @property
    def shown(self) -> str:
        return _shown(self.url)

    def asked(self) -> _Asked:
        headers = dict(self.headers)
        if self.offset:
            headers["Range"] = f"bytes={self.offset}-"
            if self.etag and not self.etag.startswith("W/"):  # a weak one says nothing about bytes (RFC 9110 13.1.5)
                headers["If-Range"] = self.etag
        return _Asked(self.url, "GET", headers, self.secret, None, True)

    def begin(self, response: httpx2.Response) -> int:
        """Check what begins to arrive; returns how many bytes to skip. Raises Untrusted."""
        etag = response.headers.get("etag")
        if self.etag and etag and etag != self.etag:
            raise self._changed("is another file than before")
        self.etag = self.etag or etag
        if response.status_code == 416:
            raise self._changed(f"has no byte {self.offset} any more")
        if response.status_code == 206:
            first, total = _range(response)
            if first != self.offset:
                raise self._changed(f"goes on at byte {first}, not at byte {self.offset}")
            if total not in (None, self.size_bytes):
                raise self._changed(f"has {total} bytes now, not {self.size_bytes}")
            return 0
        length = _length(response.headers)
        if length not in (None, self.size_bytes):
            message = f"{self.shown} has {length} bytes, not the {self.size_bytes} announced."
            raise Untrusted("source_wrong_size", message, "Tell whoever runs the source.")
        return self.offset

    def take(self, chunk: bytes) -> bytes:
        """Count what arrived. Raises Untrusted(`source_too_long`)."""
        if self.offset + len(chunk) > self.size_bytes:
            message = f"{self.shown} sent more than the {self.size_bytes} bytes announced."
            raise Untrusted("source_too_long", message, "Tell whoever runs the source.")
        self.offset += len(chunk)
        return chunk

    def _changed(self, what: str) -> Untrusted:
        return Untrusted("source_changed", f"{self.shown} {what}.", "Pull again: what it offers is looked up anew.")


def _trust(reach: Reach) -> ssl.SSLContext:
    if reach.ca_file is None:
        return httpx2.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=reach.ca_file)
    except (OSError, ssl.SSLError) as error:
        message = f"{reach.ca_file} holds no certificates to trust."
        raise Misasked("bad_ca_file", message, "Give a PEM file with the authority's certificate.") from error


@contextlib.contextmanager
def _network(shown: str) -> Iterator[None]:
    """What may go wrong on the way, as our errors."""
    try:
        yield
    except httpx2.TimeoutException as error:
        if isinstance(error, httpx2.ConnectTimeout):
            raise _AgainError(_unreachable(shown, "it does not answer")) from error
        raise _stalled(shown) from error
    except httpx2.ConnectError as error:
        if (invalid := _certificate_error(error)) is not None:
            message = f"The certificate of {shown} is not valid: {invalid.verify_message}."
            hint = "Nothing was fetched. If it is your own server, give its authority's certificate."
            raise Untrusted("bad_tls", message, hint) from error
        raise _AgainError(_unreachable(shown, str(error) or "no connection")) from error
    except httpx2.RequestError as error:
        message = f"{shown} broke off: {str(error) or type(error).__name__}."
        raise _AgainError(Broken("source_failed", message, "Pull again: it goes on where it stopped.")) from error


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _unreachable(shown: str, why: str) -> Unavailable:
    message = f"{shown} cannot be reached: {why}."
    return Unavailable("source_unreachable", message, "Try again later.", retry_after_s=60.0)


def _stalled(shown: str) -> _AgainError:
    message, hint = f"{shown} sends nothing, or next to nothing.", "Pull again later: it goes on where it stopped."
    return _AgainError(Unavailable("source_stalled", message, hint, retry_after_s=60.0))


def _judge(response: httpx2.Response, statuses: Collection[int]) -> None:
    status, shown = response.status_code, _shown(response.url)
    if status in statuses:
        return
    if status in _GONE:
        raise Missing("source_not_found", f"{shown} does not exist there.", "Check the address.", param="source")
    if status in _DENIED:
        hint = "It may need a token, or its terms accepted on the publisher's page first."
        raise Refused("source_denied", f"{shown} may not be read (status {status}).", hint)
    if status in _BUSY:
        wait_s = _retry_after_s(response.headers)
        message, hint = f"{shown} is too busy (status {status}).", "Pull again later: it goes on where it stopped."
        raise _AgainError(Unavailable("source_busy", message, hint, retry_after_s=min(wait_s or 60.0, _DAY_S)), wait_s)
    raise Broken("source_bad_answer", f"{shown} answered with status {status}.", "Check the address.")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, as a number or as a date (RFC 9110 10.2.3); None when it says neither."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        then, sent = (email.utils.parsedate_to_datetime(value) for value in (text, headers.get("date", "")))
    except ValueError:
        return None
    # The server's own clock tells how long it meant: ours may be wrong.
    zone = datetime.UTC
    return max(0.0, (then.replace(tzinfo=zone) - sent.replace(tzinfo=zone)).total_seconds())


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _range(response: httpx2.Response) -> tuple[int, int | None]:
    """First byte and whole size (None: not said) of a 206."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if match is None:
        message = f"{_shown(response.url)} sent a part without saying which."
        raise Broken("source_bad_answer", message, "Tell whoever runs the source.")
    return int(match[1]), None if match[3] == "*" else int(match[3])


def _probed(response: httpx2.Response) -> Probe:
    if response.status_code == 206:
        return Probe(_range(response)[1], response.headers.get("etag"), takes_ranges=True)
    return Probe(_length(response.headers), response.headers.get("etag"), takes_ranges=False)


def _checked_url(text: str | httpx2.URL) -> httpx2.URL:
    """An address to fetch from: https, or http to this machine; no user or password in it. Raises Misasked."""
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise Misasked("bad_url", "That is not the address of anything.", "Write https://…", param="source") from error
    if url.scheme not in ("https", "http") or not _HOST.fullmatch(url.raw_host):
        raise Misasked("bad_url", "Models are fetched by https only.", "Write https://…", param="source")
    if url.scheme == "http" and not is_loopback(url.host):
        message = f"{_authority(url)} would be asked without encryption."
        raise Misasked("bad_url", message, "Write https://…; http is for this machine only.", param="source")
    if url.userinfo:
        raise Misasked("bad_url", "An address must hold no password.", "Give the token separately.", param="source")
    return url


def is_loopback(host: str) -> bool:
    """Whether `host` (no port, no brackets) names this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host of a good address as `Allow` gets it. Raises Misasked(`bad_url`)."""
    return _authority(_checked_url(url))


def _authority(url: httpx2.URL) -> str:
    host = url.raw_host.decode("ascii").lower()
    host = f"[{host}]" if ":" in host else host
    return host if url.port is None else f"{host}:{url.port}"


def _origin(url: httpx2.URL) -> tuple[str, str]:
    return url.scheme, _authority(url)


def _shown(url: httpx2.URL) -> str:
    """An address for people: no query and no fragment, for they may be secret."""
    return str(url.copy_with(query=None, fragment=None, userinfo=b""))[:300]
