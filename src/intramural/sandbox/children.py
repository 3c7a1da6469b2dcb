"""Starting a confined child and holding on to it."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from intramural.core import errors
from intramural.core.errors import Broken, IntramuralError, Untrusted
from intramural.sandbox.launch import Launch, check_files
from intramural.sandbox.starting import Begun, current

_ANSWER_LIMIT_BYTES = 32 * 2**20
_LOG_BYTES = 32 * 2**10
_READ_BYTES = 64 * 2**10
#: Of an error that a child reports: what its code looks like, and how many characters of its words are passed on.
_CODE, _TEXT_LIMIT = re.compile(r"[a-z][a-z0-9_]{0,63}"), 1000


class Child:
    """A confined process that runs, as `pid`."""

    def __init__(self, begun: Begun, log: "_Log") -> None:
        self._begun = begun
        self._log = log
        self.pid = begun.pid

    @property
    def layers(self) -> tuple[str, ...]:
        """What it says holds; nothing before it said so."""
        return self._begun.layers

    @property
    def returncode(self) -> int | None:
        """How it ended (negative: by that signal), None while it runs."""
        return self._begun.status

    async def wait(self) -> int:
        """Wait for its end; how it ended."""
        status = await asyncio.shield(self._begun.ended)
        await self._log.done()
        return status

    async def stop(self, grace_s: float) -> int:
        """Ask it to end, and kill it after `grace_s`."""
        self._begun.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), grace_s)
        except TimeoutError:
            self.kill()
            return await self.wait()

    def kill(self) -> None:
        """End it now."""
        self._begun.signal(signal.SIGKILL)

    def log_tail(self) -> str:
        """The last lines it wrote to its standard output and error. Their words are an outsider's."""
        return self._log.text()


class _Log:
    """Drains a child's output and keeps its tail."""

    def __init__(self, pipe: "_Pipe") -> None:
        self._tail = b""
        self._task = asyncio.ensure_future(self._drain(pipe))

    async def _drain(self, pipe: "_Pipe") -> None:
        try:
            while chunk := await pipe.read():
                self._tail = (self._tail + chunk)[-_LOG_BYTES:]
        finally:
            pipe.close()

    async def done(self) -> None:
        await asyncio.shield(self._task)  # who stops waiting for its end does not end it for who waits next

    def text(self) -> str:
        return _plain(self._tail.decode("utf-8", "replace"))


async def spawn(launch: Launch) -> Child:
    """Start a confined child; returns once it says it is confined, before its entry runs.

    Raises Broken(`confinement_failed`) naming the layer, or Broken(`child_died`) when it could not be started, ended
    before that, or took too long over it. Where its starter died meanwhile, what that says (`spawner_died`).
    """
    child, answer = await _start(launch)
    answer.close()
    return child


async def run_once(launch: Launch, timeout_s: float) -> Any:
    """Run a one-shot child and return what its entry returned (JSON).

    An IntramuralError raised there is raised here. Raises Untrusted(`parser_died`, `parser_timeout`,
    `parser_too_much`) when what it parsed got the better of it.
    """
    child, answer = await _start(launch)
    try:
        line = await asyncio.wait_for(answer.line(), timeout_s)
    except TimeoutError:
        raise Untrusted(
            "parser_timeout", f"Inspection took longer than {timeout_s:g} seconds.", "Do not trust this file."
        ) from None
    finally:
        child.kill()
        await child.wait()
        answer.close()
    if not line:
        raise Untrusted("parser_died", "Inspection of the file crashed the inspector.", "Do not trust this file.")
    return _result(line)


class _Pipe:
    """Our end of a pipe that a child writes to, for one reader.

    Read here, and not by a transport of the loop's: uvloop closes a descriptor and then its file object, which closes
    the number once more; by then it may be what another thread has opened, and that was the database more than once.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._open = True
        self._ahead = b""  # what was read behind the end of a line

    async def read(self) -> bytes:
        """What comes next; empty at the end."""
        while True:
            await self._readable()  # even where there is more at once: who writes without end does not hold the loop
            with suppress(BlockingIOError):
                return os.read(self._fd, _READ_BYTES)

    async def line(self) -> bytes:
        """The next line; empty at the end. Raises Untrusted(`parser_too_much`)."""
        parts, length = [self._ahead], len(self._ahead)
        while b"\n" not in parts[-1] and (more := await self.read()):
            parts.append(more)
            length += len(more)
            if length > _ANSWER_LIMIT_BYTES:
                raise Untrusted("parser_too_much", "Inspection answered too much.", "Do not trust this file.")
        line, end, self._ahead = b"".join(parts).partition(b"\n")
        return line + end

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(self._fd, _settle, readable)
        try:
            await readable
        finally:
            loop.remove_reader(self._fd)

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._fd)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _start(launch: Launch) -> tuple[Child, _Pipe]:
    check_files(launch)
    starter = current()
    answer_read, answer_write = os.pipe()
    log_read, log_write = os.pipe()
    answer, log = _Pipe(answer_read), _Pipe(log_read)
    try:
        begun = await starter.begin(launch, log_write, answer_write)
    except BaseException:
        answer.close()
        log.close()
        raise
    finally:
        os.close(answer_write)
        os.close(log_write)
    child = Child(begun, _Log(log))
    try:
        begun.layers, begun.unset = await _confined(child, answer, launch.confine_timeout_s)
    except BaseException as error:
        child.kill()
        await child.wait()
        answer.close()
        if isinstance(error, IntramuralError) and starter.gone is not None:
            raise starter.gone from error  # which is why it ended, or why it would not go on
        raise
    return child, answer


async def _confined(child: Child, answer: _Pipe, timeout_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers the child says it is behind, and the switches of `core.quiet` it says are not set. Raises what it says
    went wrong, or Broken(`child_died`)."""
    try:
        said = json.loads(await asyncio.wait_for(answer.line(), timeout_s) or b"{}")
    except TimeoutError:
        raise Broken(
            "child_died", f"A worker was not confined within {timeout_s:g} seconds.", child.log_tail()[-500:]
        ) from None
    if "error" in said:
        raise _error(said["error"])
    if "layers" not in said:
        await child.wait()
        raise Broken("child_died", "A worker ended before it was confined.", child.log_tail()[-500:])
    return tuple(said["layers"]), tuple(said["unset"])


def _result(line: bytes) -> Any:
    """What a parser answered; it may be in the hands of what it parsed, and answer anything at all."""
    try:
        said = json.loads(line)
        if "error" not in said:
            return said["result"]
        error = _error(said["error"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Untrusted(
            "parser_died", "Inspection of the file answered what makes no sense.", "Do not trust this file."
        ) from None
    raise error


def _error(said: Mapping[str, Any]) -> IntramuralError:
    """The error a child reported, as the class it was; a child can name only classes that need no more arguments."""
    kind = getattr(errors, str(said["kind"]), Broken)
    if not (isinstance(kind, type) and issubclass(kind, IntramuralError)) or issubclass(
        kind, errors.Throttled | errors.Unavailable
    ):
        kind = Broken
    code, message, hint = str(said["code"]), str(said["message"]), str(said["hint"])
    param = None if said["param"] is None else _plain(str(said["param"])[:_TEXT_LIMIT])
    if not _CODE.fullmatch(code):
        raise ValueError("no code of an error looks like this")
    error: IntramuralError = kind(code, _plain(message[:_TEXT_LIMIT]), _plain(hint[:_TEXT_LIMIT]), param=param)
    return error


def _plain(text: str) -> str:
    """`text` without what would act on a terminal, a log or a reader's eye: control codes, direction marks."""
    return "".join(each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text)
