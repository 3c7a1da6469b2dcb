"""A witness, as c2sp.org/tlog-witness has it: `POST /add-checkpoint`, `GET /{hash of the origin}/checkpoint`.

A program of its own, for another machine than the one whose log it watches: `intramural witness`. It keeps one file
for each log, the last checkpoint that it signed; a checkpoint is on the disk before its signature leaves.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from intramural.audit import Checkpoint, Cosigner, VerifierKey
from intramural.audit.checkpoint import parse_body, split_note
from intramural.audit.witnessing import MAX_REQUEST_BYTES, decide, read_submission
from intramural.core.clock import Clock
from intramural.core.durable import ORDINARY, write_whole
from intramural.core.errors import IntramuralError


class Witness:
    """Signs what goes on from what it signed before."""

    def __init__(
        self, folder: Path, logs: Mapping[str, VerifierKey], cosigners: tuple[Cosigner, ...], clock: Clock
    ) -> None:
        self._folder = folder
        self._logs = logs
        self._cosigners = cosigners
        self._clock = clock
        self._turn = asyncio.Lock()  # looking at the last one and keeping the new one are one step

    def application(self) -> Starlette:
        """The two routes."""
        return Starlette(
            routes=[
                Route("/add-checkpoint", self._add, methods=["POST"]),
                Route("/{origin_hash}/checkpoint", self._newest, methods=["GET"]),
            ]
        )

    async def _add(self, request: Request) -> Response:
        body = bytearray()
        try:
            async for part in request.stream():
                body += part
                if len(body) > MAX_REQUEST_BYTES:
                    return PlainTextResponse("That is longer than any request to a witness.\n", 413)
            submission = read_submission(bytes(body))
        except ClientDisconnect:
            return PlainTextResponse("", 400)
        except IntramuralError as error:
            return PlainTextResponse(f"{error.message}\n", 400)
        async with self._turn:
            answer = decide(submission, self._logs, await asyncio.to_thread(self._held, submission.checkpoint.origin))
            if not answer.signs:
                media_type = "text/x.tlog.size" if answer.status == 409 else "text/plain"
                return Response(answer.body, answer.status, media_type=media_type)
            time_s = int(self._clock.now_s())
            lines = "".join(each.line(submission.checkpoint, time_s) for each in self._cosigners)
            await asyncio.to_thread(self._keep, submission.checkpoint.origin, self._own(submission.note) + lines)
        return PlainTextResponse(lines)

    async def _newest(self, request: Request) -> Response:
        known = {_name(origin): origin for origin in self._logs}
        name = f"{request.path_params['origin_hash']}.txt"
        if name not in known or not (self._folder / name).exists():
            return PlainTextResponse("No checkpoint of this log was signed here.\n", 404)
        return PlainTextResponse(await asyncio.to_thread((self._folder / name).read_text, "utf-8"))

    def _own(self, note: str) -> str:
        """The note with the log's own signature alone: what others put beside it is not this witness's to hand on."""
        text, signatures = note.rpartition("\n\n")[::2]
        key = self._logs[text.partition("\n")[0]]
        lines = zip(split_note(note)[1], signatures.splitlines(keepends=True), strict=True)
        own = [line for (name, data), line in lines if (name, data[:4]) == (key.name, key.hash)]
        return f"{text}\n\n{''.join(own)}"

    # Blocking from here on.

    def _held(self, origin: str) -> Checkpoint | None:
        try:
            note = (self._folder / _name(origin)).read_text("utf-8")
        except FileNotFoundError:
            return None
        return parse_body(split_note(note)[0])

    def _keep(self, origin: str, note: str) -> None:
        write_whole(self._folder / _name(origin), note.encode(), mode=ORDINARY)


def _name(origin: str) -> str:
    return f"{hashlib.sha256(origin.encode()).hexdigest()}.txt"
