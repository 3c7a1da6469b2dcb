"""An HTTP server on loopback that can lie in every way a server can: written on the bare socket, so that it can."""

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Request:
    """What a client asked. Header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Reply:
    """What to answer. `length`: what Content-Length says, None for none at all (the end of the connection is the end).

    `cut_after`: close after so many bytes of body. `endless`: zeros for ever after the body. `stall_after`: after so
    many bytes say nothing more, and stay. `drip_s`: a byte at a time, and so long between two.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = -1
    cut_after: int | None = None
    endless: bool = False
    stall_after: int | None = None
    drip_s: float | None = None


Respond = Callable[[Request], Reply]


@dataclass
class WebServer:
    """A running server. Change `respond` at any time; `seen` has every request so far."""

    respond: Respond
    url: str
    seen: list[Request] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.split("//")[1]

    def ranges(self) -> list[str | None]:
        """The Range header of every GET so far."""
        return [request.headers.get("range") for request in self.seen if request.method == "GET"]


@contextlib.asynccontextmanager
async def serving(respond: Respond, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[WebServer]:
    """Answer by `respond` on a free port of 127.0.0.1."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(task := asyncio.current_task())  # type: ignore[arg-type]  # a connection always runs in a task
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                request = await _read(reader)
                server.seen.append(request)
                await _write(writer, request, server.respond(request))
        finally:
            tasks.discard(task)  # type: ignore[arg-type]  # as above
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server = WebServer(respond, f"{'https' if tls else 'http'}://127.0.0.1:{port}")
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    path, _, query = target.partition("?")
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, unquote(path), query, headers, body)


async def _write(writer: asyncio.StreamWriter, request: Request, reply: Reply) -> None:
    headers = {"Connection": "close", **reply.headers}
    if reply.length is not None and not reply.endless:
        headers.setdefault("Content-Length", str(len(reply.body) if reply.length == -1 else reply.length))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {reply.status} Whatever\r\n{head}\r\n".encode("latin-1"))
    if request.method == "HEAD":
        await writer.drain()
        return
    ends = [end for end in (reply.cut_after, reply.stall_after) if end is not None]
    body = memoryview(reply.body)[: min(ends, default=len(reply.body))]
    piece = 1 << 18 if reply.drip_s is None else 1
    for start in range(0, len(body), piece):
        writer.write(body[start : start + piece])
        await writer.drain()
        if reply.drip_s is not None:
            await asyncio.sleep(reply.drip_s)
    while reply.endless:
        writer.write(bytes(1 << 16))
        await writer.drain()
    if reply.stall_after is not None:
        await asyncio.Event().wait()


def file_reply(request: Request, body: bytes, *, etag: str | None = '"v1"', ranges: bool = True) -> Reply:
    """As an honest server of files answers, Range and If-Range included."""
    headers = {"Accept-Ranges": "bytes"} if ranges else {}
    headers |= {"ETag": etag} if etag else {}
    wanted = request.headers.get("range", "")
    if not ranges or not wanted.startswith("bytes=") or request.headers.get("if-range", etag) != etag:
        return Reply(200, headers, body)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
    if start >= len(body):
        return Reply(416, {**headers, "Content-Range": f"bytes */{len(body)}"})
    return Reply(206, {**headers, "Content-Range": f"bytes {start}-{end}/{len(body)}"}, body[start : end + 1])


def certificate(folder: Path, *names: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a self-signed certificate for `names`, and the file a client must trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    others = [x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(others), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public
