"""One engine elsewhere: the only code that asks it, and what keeps it from being asked while it fails.

Only the configured address is connected to, by the way out that is given, which lets a name be where the engine may be
(on this machine or a private network, unless it is said to be outside) and nowhere else. Nothing in the environment is
read, no redirect is followed, certificates are always checked.
Each request has a connection of its own, as with our own engines: closing it is how the engine learns that nobody
reads any more.
"""

import asyncio
import hashlib
import hmac
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from intramural import __version__
from intramural.core.clock import Clock
from intramural.core.engines import Remote, RemoteEngine
from intramural.core.errors import Broken, IntramuralError, Refused, Unavailable, Untrusted
from intramural.core.outward import Connect
from intramural.serving.builds import build_of_info
from intramural.serving.exchange import Exchange, worker_garbage
from intramural.serving.remote import breaker
from intramural.serving.remote.breaker import Breaker, Rules
from intramural.serving.remote.fields import KINDS, MODELS, listed, refusal

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 10.0
_HEALTH_TIMEOUT_S = 5.0
#: Most bytes of one answer: what a stream of the model's whole context can come to, with alternatives for each token.
_FRAME_BYTES = 8192
_LEAST_BYTES = 64 * 2**20
_LONGEST_RETRY_S = 300.0
_SHOWN_NAMES = 5


#: (name of an engine, its build of llama.cpp if it says one)
RequireBuild = Callable[[str, int | None], None]


class _Props(msgspec.Struct):
    """What of a llama-server's properties is read here."""

    build_info: str = ""


class RemoteExchange(Exchange):
    """An exchange that tells its engine's link how it went. `trial`: it is the one that tries an engine that failed."""

    def __init__(self, stall_s: float, link: "Link", limit_bytes: int, *, trial: bool) -> None:
        super().__init__(stall_s)
        self._link = link
        self._left_bytes = limit_bytes
        self._trial = trial
        self._over = False
        self._headers: dict[bytes, bytes] = {}

    @property
    def retry_after_s(self) -> float | None:
        """What the engine says in Retry-After, if that is a number of seconds."""
        text = self._headers.get(b"retry-after", b"")
        return min(float(text), _LONGEST_RETRY_S) if text.isdigit() and len(text) < 6 else None

    def close(self) -> None:
        if self._trial:
            self._trial = False
            self._link.note_given_up()
        super().close()

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"retry-after", b"content-encoding"):
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._headers.get(b"content-encoding", b"identity").lower() != b"identity":
            self._refused(worker_garbage("compressed data, although none was asked for"))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._left_bytes -= len(body)
        if self._over:
            return
        if self._left_bytes < 0:
            self._refused(worker_garbage("an answer without end"))
            return
        super().on_body(body)

    def _refused(self, error: Broken) -> None:
        self._over = True
        self.fail(error)

    def on_message_complete(self) -> None:
        if self._over:
            return
        super().on_message_complete()
        if self._parser.get_status_code() < 500:
            self._trial = False
            self._link.note_succeeded()


class Link:
    """One engine, for all its models. `ask` is the way to it."""

    def __init__(
        self,
        engine: RemoteEngine,
        clock: Clock,
        connect: Connect,
        rules: Rules | None = None,
        require: RequireBuild = lambda name, build: None,
    ) -> None:
        """`require` raises what keeps a llama-server of that build from being asked."""
        self.engine = engine
        self._require = require
        self._connect = connect
        self.breaker = Breaker()
        self._clock = clock
        self._rules = rules or Rules()
        self._context: ssl.SSLContext | None = None
        self._secret = clock.token_bytes(32)

    async def ask(self, method: str, target: str, body: bytes, *, stall_s: float, context_tokens: int) -> Exchange:
        """Connect, send, and return at once.

        Raises Unavailable(`engine_paused`, `engine_unreachable`), Untrusted(`engine_certificate_wrong`) or
        Refused(`engine_outside`).
        """
        trial = self._admitted()
        limit_bytes = _LEAST_BYTES + context_tokens * _FRAME_BYTES
        try:
            if trial:
                await self._probe()
            return await self._sent(method, target, body, stall_s, limit_bytes, trial=trial)
        except asyncio.CancelledError:
            if trial:
                self.note_given_up()
            raise
        except IntramuralError:
            self.note_failed()
            raise

    def salt(self, tenant: str) -> str:
        """What keeps computations for `tenant` apart at the engine: nobody can guess it, and it does not tell who."""
        return hmac.new(self._secret, tenant.encode(), hashlib.sha256).hexdigest()

    def _admitted(self) -> bool:
        """Whether whoever asks now tries an engine that failed."""
        self.breaker, may = breaker.asked(self.breaker, self._clock.monotonic_s())
        if not may:
            raise Unavailable(
                "engine_paused",
                f"The engine {self.engine.name} failed several times and is left alone for a moment.",
                "Try again.",
                retry_after_s=max(1.0, self.breaker.wait_s(self._clock.monotonic_s())),
            )
        return self.breaker.phase == "half-open"

    def note_succeeded(self) -> None:
        """A request was answered to its end."""
        if self.breaker.phase == "half-open":
            log.info("engine %s answers again", self.engine.name)
        self.breaker = breaker.succeeded(self.breaker)

    def note_failed(self) -> None:
        """A request failed through the engine's fault."""
        was = self.breaker.phase
        self.breaker = breaker.failed(self.breaker, self._clock.monotonic_s(), self._rules)
        if self.breaker.phase == "open" and was != "open":
            pause_s = self.breaker.wait_s(self._clock.monotonic_s())
            log.warning("engine %s fails and is left alone for %g s", self.engine.name, pause_s)

    def note_given_up(self) -> None:
        """Whoever tried it left before anything was known."""
        self.breaker = breaker.given_up(self.breaker)

    async def healthy(self) -> bool:
        """Whether it answers its health check now."""
        try:
            await self._probe()
        except IntramuralError:
            return False
        return True

    async def _probe(self) -> None:
        """Raises what connecting does, Unavailable(`engine_unreachable`) also where it says that it is not well."""
        status, _ = await self._whole(KINDS[self.engine.kind].health)
        if status != 200:
            raise self._unreachable()

    async def check(self, remote: Remote) -> None:
        """Return if it is there, new enough, and serves the model with as long a context as was written down.

        Raises what `ask` does, Refused(`engine_too_old`, `engine_build_unknown`), Broken(`engine_lacks_model`,
        `engine_context_smaller`) and what `refusal` makes of its answer.
        """
        self._admitted()
        try:
            await self._probe()
            build = await self._build() if self.engine.kind == "llama-server" else None
            status, body = await self._whole(MODELS)
        except IntramuralError:
            self.note_failed()
            raise
        except asyncio.CancelledError:
            self.note_given_up()
            raise
        if self.engine.kind == "llama-server":
            try:
                self._require(self.engine.name, build)
            except Refused:
                self.note_given_up()
                raise
        if status != 200:
            self.note_given_up()
            raise refusal(remote, status, body, None)
        self.note_succeeded()
        names = listed(body)
        if names is None:
            raise worker_garbage("a list of models that is none")
        if remote.model.theirs not in names:
            shown = ", ".join(repr(name[:80]) for name in sorted(names)[:_SHOWN_NAMES])
            raise Broken(
                "engine_lacks_model",
                f"The engine {self.engine.name} does not serve {remote.model.theirs!r}, which {remote.model.name} is.",
                f"It serves {shown or 'nothing'}; mend engines.toml.",
            )
        most, wanted = names[remote.model.theirs], remote.model.context_tokens
        if most is not None and most < wanted:
            raise Broken(
                "engine_context_smaller",
                f"{remote.model.name} has a context of {most} tokens at the engine {self.engine.name}, not {wanted}.",
                "Say so in engines.toml, or start the engine with more.",
            )

    async def _build(self) -> int | None:
        """The build that a llama-server says it is."""
        status, body = await self._whole("/props")
        try:
            return build_of_info(msgspec.json.decode(body, type=_Props).build_info) if status == 200 else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    async def _whole(self, target: str) -> tuple[int, bytes]:
        exchange = await self._sent("GET", target, b"", _HEALTH_TIMEOUT_S, _LEAST_BYTES, trial=False, quiet=True)
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                return await exchange.status(), await exchange.read_all()
        except TimeoutError:
            raise self._unreachable() from None
        finally:
            exchange.close()

    # Connecting

    async def _sent(
        self,
        method: str,
        target: str,
        body: bytes,
        stall_s: float,
        limit_bytes: int,
        *,
        trial: bool,
        quiet: bool = False,
    ) -> Exchange:
        def made() -> Exchange:
            if quiet:  # whose outcome its caller judges
                return Exchange(stall_s)
            return RemoteExchange(stall_s, self, limit_bytes, trial=trial)

        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                transport, exchange = await self._connected(made)
        except ssl.SSLError as error:
            log.warning("engine %s: %s", self.engine.name, getattr(error, "verify_message", "") or error.reason)
            raise Untrusted(
                "engine_certificate_wrong",
                f"The engine {self.engine.name} does not prove that it is {self.engine.address.host}.",
                "An administrator has to mend its certificate, or name its authority in `ca_file`.",
            ) from error
        except (OSError, TimeoutError) as error:
            raise self._unreachable() from error
        transport.write(self._head(method, target, len(body)) + body)
        return exchange

    async def _connected(self, made: Any) -> tuple[asyncio.WriteTransport, Exchange]:
        loop, address = asyncio.get_running_loop(), self.engine.address
        if address.scheme == "unix":
            return await loop.create_unix_connection(made, address.path)
        tls = await self._tls() if address.scheme == "https" else None
        connection = await self._reached()
        try:
            return await loop.create_connection(
                made, sock=connection, ssl=tls, server_hostname=address.host if tls else None
            )
        except BaseException:
            connection.close()
            raise

    async def _reached(self) -> socket.socket:
        """Raises Refused(`engine_outside`) if it is only where it may not be, and what else refuses the way out."""
        address = self.engine.address
        try:
            return await self._connect(address.host, address.port, _CONNECT_TIMEOUT_S)
        except Refused as error:
            if error.code != "egress_address_refused":
                raise
            log.warning("engine %s: %s", self.engine.name, error.message)
            raise Refused(
                "engine_outside",
                f"The engine {self.engine.name} is neither on this machine nor in a private network.",
                "An administrator has to say so in engines.toml, if it is meant.",
            ) from error

    async def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            file = self.engine.ca_file
            self._context = await asyncio.to_thread(
                ssl.create_default_context, cafile=None if file is None else str(file)
            )
        return self._context

    def _head(self, method: str, target: str, size_bytes: int) -> bytes:
        address, key = self.engine.address, self.engine.key
        headers: Mapping[str, str] = {
            "host": address.authority,
            "connection": "close",
            "user-agent": f"intramural/{__version__}",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "content-length": str(size_bytes),
            **({} if key is None else {"authorization": f"Bearer {key}"}),
        }
        prefix = "" if address.scheme == "unix" else address.path
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} {prefix}{target} HTTP/1.1\r\n{lines}\r\n".encode("ascii")

    def _unreachable(self) -> Unavailable:
        message = f"The engine {self.engine.name} cannot be reached."
        return Unavailable("engine_unreachable", message, "Try again; if it persists, tell an admin.", retry_after_s=5)
