"""A stored file's bytes as an answer, in every dialect."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import BinaryIO
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from intramural.files import StoredFile
from intramural.http.labels import GENERATED, header

_CHUNK_BYTES = 256 * 1024
#: A stored file is somebody's text: no browser shall run it as a page of ours.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def attachment(
    file: StoredFile, opened: BinaryIO, headers: Mapping[str, str] | None = None, *, labelled: bool
) -> Response:
    """The bytes of `file`, read from `opened` and closing it, to be saved under its name. `headers`: more of them;
    `labelled`: what models wrote says so.
    """
    named = {
        **_HEADERS,
        "Content-Length": str(file.size_bytes),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
        **({GENERATED: header()} if labelled and file.purpose == "batch_output" else {}),
        **(headers or {}),
    }
    return StreamingResponse(_chunks(opened), media_type="application/octet-stream", headers=named)


async def _chunks(opened: BinaryIO) -> AsyncGenerator[bytes, None]:
    with opened:
        while chunk := await asyncio.to_thread(opened.read, _CHUNK_BYTES):
            yield chunk
