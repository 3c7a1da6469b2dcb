"""Bytes to be saved as a file, as an answer: a stored file's, in every dialect; and what is put together on the way.

A stored file is somebody's text: whatever it is, it is served as bytes to be saved, never under a type that a browser
shows. That no browser runs it as a page of ours, `browsers` says of every answer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from typing import BinaryIO
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from intramural.files import StoredFile
from intramural.http.labels import GENERATED, header

_CHUNK_BYTES = 256 * 1024


def attachment(
    file: StoredFile, opened: BinaryIO, headers: Mapping[str, str] | None = None, *, labelled: bool
) -> Response:
    """The bytes of `file`, read from `opened` and closing it, to be saved under its name. `headers`: more of them;
    `labelled`: what models wrote says so.
    """
    more = {"Content-Length": str(file.size_bytes), **(headers or {})}
    return saved(file.name, _chunks(opened), more, labelled=labelled and file.purpose == "batch_output")


def saved(
    name: str, pieces: AsyncIterable[bytes], headers: Mapping[str, str] | None = None, *, labelled: bool
) -> Response:
    """`pieces`, to be saved under `name`; `headers` and `labelled` as for `attachment`."""
    named = {
        "Cache-Control": "no-store",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        **({GENERATED: header()} if labelled else {}),
        **(headers or {}),
    }
    return StreamingResponse(pieces, media_type="application/octet-stream", headers=named)


async def _chunks(opened: BinaryIO) -> AsyncGenerator[bytes, None]:
    with opened:
        while chunk := await asyncio.to_thread(opened.read, _CHUNK_BYTES):
            yield chunk
