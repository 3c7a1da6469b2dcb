"""Uploads: a `multipart/form-data` body read piece by piece, its one file handed on as it comes.

Nothing of the file is held here, and the other fields are few and short (RFC 7578).
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from intramural.core.errors import Misasked, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartParser

#: The field of the form that the file is in, in every API that has one.
_FILE = "file"
MAX_FIELDS = 16
MAX_FIELD_BYTES = 4096
#: What the form around the file may weigh: bounds what an announced length says of the file.
OVERHEAD_BYTES = 2 * MAX_FIELDS * MAX_FIELD_BYTES

Write = Callable[[bytes], Awaitable[None]]


@dataclass(slots=True)
class Form:
    """What came beside the file's bytes: its name, and the other fields."""

    file_name: str | None = None
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Part:
    name: str
    is_file: bool
    data: bytearray = field(default_factory=bytearray)


def announced_bytes(request: Request) -> int:
    """At least how many bytes the file will have, as far as the body's length tells."""
    announced = request.headers.get("content-length", "")
    return max(0, int(announced) - OVERHEAD_BYTES) if announced.isascii() and announced[:18].isdecimal() else 0


async def receive(request: Request, write: Write) -> Form:
    """The form, with the bytes of its file given to `write`. Raises Misasked(`bad_form`), TooLarge."""
    reader = _Reader(_boundary(request))
    try:
        async for chunk in request.stream():
            for piece in reader.read(chunk):
                await write(piece)
    except ClientDisconnect:
        raise Misasked("client_left", "The client left before its upload was complete.", "Send it again.") from None
    return reader.form()


def _boundary(request: Request) -> bytes:
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 70:  # RFC 2046 5.1.1
        raise _bad("The body is not a form with files.")
    return boundary


class _Reader:
    """Turns pieces of the body into pieces of the file; keeps the fields."""

    def __init__(self, boundary: bytes) -> None:
        self._parser = self._made(boundary)
        self._form = Form()
        self._part: _Part | None = None
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._pieces: list[bytes] = []
        self._parts = 0
        self._complete = False

    def read(self, chunk: bytes) -> Iterator[bytes]:
        """What of `chunk` belongs to the file. Raises Misasked, TooLarge."""
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _bad("The form is malformed.") from error
        pieces, self._pieces = self._pieces, []
        yield from pieces

    def form(self) -> Form:
        """The whole form. Raises Misasked where the body ended early, or held no file."""
        if not self._complete:
            raise _bad("The form ends before its last boundary.")
        if self._form.file_name is None:
            raise Misasked("bad_form", f"The form holds no `{_FILE}`.", "Send it.", param=_FILE)
        return self._form

    def _made(self, boundary: bytes) -> "MultipartParser":
        from python_multipart.multipart import MultipartParser

        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise TooLarge("too_many_fields", f"The form has over {MAX_FIELDS} fields.", "Send fewer.")
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self._part = _Part(name, name == _FILE)
        if self._part.is_file:
            if self._form.file_name is not None:
                raise Misasked("bad_form", "The form holds two files.", "Send them one by one.", param=name)
            self._form.file_name = options.get(b"filename", b"").decode("utf-8", "replace") or "file"
        elif name in self._form.fields:
            raise Misasked("bad_form", f"The form holds {name[:64]!r} twice.", "Send it once.", param=name[:64])

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._part is not None
        if self._part.is_file:
            self._pieces.append(data[start:end])
            return
        self._part.data += data[start:end]
        if len(self._part.data) > MAX_FIELD_BYTES:
            message = f"The field {self._part.name[:64]!r} is over {MAX_FIELD_BYTES} bytes."
            raise TooLarge("field_too_large", message, "Send less.", param=self._part.name[:64])

    def _on_part_end(self) -> None:
        assert self._part is not None
        if not self._part.is_file:
            self._form.fields[self._part.name] = self._part.data.decode("utf-8", "replace")
        self._part = None

    def _on_end(self) -> None:
        self._complete = True


def _bad(message: str) -> Misasked:
    return Misasked("bad_form", message, "Send multipart/form-data, as a client's upload function does.")
