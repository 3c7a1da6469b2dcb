"""Starting a confined child and holding on to it."""

import asyncio
import fcntl
import json
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import BufferedWriter
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from intramural.core import errors
from intramural.core.errors import Broken, IntramuralError, Untrusted
from intramural.sandbox import users
from intramural.sandbox.kernel import failed
from intramural.sandbox.seccomp import Profile

_CHILD = Path(__file__).with_name("child.py")
_ANSWER_LIMIT_BYTES = 32 * 2**20
_LOG_BYTES = 32 * 2**10
#: Of an error that a child reports: what its code looks like, and how many characters of its words are passed on.
_CODE, _TEXT_LIMIT = re.compile(r"[a-z][a-z0-9_]{0,63}"), 1000
_ENVIRONMENT = {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits; None leaves one as it is. `memory_bytes` is address space, `processes` counts threads too."""

    memory_bytes: int | None = None
    data_bytes: int | None = None
    open_files: int = 128
    cpu_s: int | None = None
    file_size_bytes: int = 0
    processes: int = 64


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run, and everything it is given.

    `entry` is `module:function`; the module is imported whole before confinement, `function(arg, files)` is called
    after it. `files` maps names to our open descriptors; the child gets the same names with its own. `private_dir` is
    the only place it may make a socket in. `memory` are files without a name (memfd_create), under our numbers in the
    child too: what it may write to, as `/proc/self/fd/N` opened from the beginning, if Landlock is in force, and as far
    as `limits.file_size_bytes` lets it. `channel` is the other end of a Unix socket pair of ours, on which a broker is
    spoken with; the child finds it among its files under that name. `without` leaves layers out: for tests, and for
    downgrades that an administrator has named. Within `confine_timeout_s` the child has to have imported its module and
    confined itself.
    """

    profile: Profile
    entry: str
    arg: Mapping[str, Any]
    files: Mapping[str, int] = field(default_factory=dict)
    private_dir: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    without: frozenset[str] = frozenset()
    confine_timeout_s: float = 60.0
    memory: tuple[int, ...] = ()
    channel: int | None = None


class Child:
    """A confined process that runs. `layers` is what it says holds; `pid` its process."""

    def __init__(self, process: Process, layers: tuple[str, ...], log: "_Log", lent: users.Lent | None) -> None:
        self._process = process
        self._log = log
        self._ended = asyncio.ensure_future(_until_end(process, lent))
        self.layers = layers
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended (negative: by that signal), None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end; how it ended."""
        status = await asyncio.shield(self._ended)
        await self._log.done()
        return status

    async def stop(self, grace_s: float) -> int:
        """Ask it to end, and kill it after `grace_s`."""
        self._signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), grace_s)
        except TimeoutError:
            self.kill()
            return await self.wait()

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL)

    def log_tail(self) -> str:
        """The last lines it wrote to its standard output and error. Their words are an outsider's."""
        return self._log.text()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)


async def _until_end(process: Process, lent: users.Lent | None) -> int:
    """Its user is lent until it has ended, whether or not anybody waits for it."""
    status = await process.wait()
    if lent is not None:
        lent.give_back()
    return status


class _Log:
    """Drains a child's output and keeps its tail."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._tail = b""
        self._task = asyncio.ensure_future(self._drain(stream))

    async def _drain(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(65536):
            self._tail = (self._tail + chunk)[-_LOG_BYTES:]

    async def done(self) -> None:
        await self._task

    def text(self) -> str:
        return _plain(self._tail.decode("utf-8", "replace"))


async def spawn(launch: Launch) -> Child:
    """Start a confined child; returns once it says it is confined, before its entry runs.

    Raises Broken(`confinement_failed`) naming the layer, or Broken(`child_died`) when it could not be started, ended
    before that, or took too long over it.
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


class _Answer:
    """Our end of the pipe on which the child says what it has to say."""

    def __init__(self, fd: int) -> None:
        self._pipe = os.fdopen(fd, "rb", buffering=0)
        self._reader: asyncio.StreamReader | None = None
        self._transport: asyncio.ReadTransport | None = None

    async def line(self) -> bytes:
        """The next line; empty at the end. Raises Untrusted(`parser_too_much`)."""
        if self._reader is None:
            reader = asyncio.StreamReader(limit=_ANSWER_LIMIT_BYTES)
            self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), self._pipe
            )
            self._reader = reader
        try:
            return await self._reader.readline()
        except ValueError:
            raise Untrusted("parser_too_much", "Inspection answered too much.", "Do not trust this file.") from None

    def close(self) -> None:
        if self._transport is None:
            self._pipe.close()
        else:
            self._transport.close()


async def _start(launch: Launch) -> tuple[Child, _Answer]:
    _check_open(launch.files)
    _check_open({f"memory {number}": descriptor for number, descriptor in enumerate(launch.memory)})
    _check_nameless(launch.memory)
    if launch.channel is not None:
        _check_paired(launch.channel)
    lent = users.lend() if os.geteuid() == 0 and "uid" not in launch.without else None
    uid = None if lent is None else lent.uid
    message_read, message_write = os.pipe()
    answer_read, answer_write = os.pipe()
    answer = _Answer(answer_read)
    try:
        process = await _process(launch, uid, message_read, answer_write)
    except BaseException:
        os.close(message_write)
        answer.close()
        if lent is not None:
            lent.give_back()
        raise
    finally:
        os.close(message_read)
        os.close(answer_write)
    assert process.stdout is not None
    child = Child(process, (), _Log(process.stdout), lent)
    pipe = os.fdopen(message_write, "wb")
    try:
        await asyncio.to_thread(_send, pipe, _message(launch, uid))
        child.layers = await _confined(child, answer, launch.confine_timeout_s)
    except BaseException:
        child.kill()
        await child.wait()
        answer.close()
        _send(pipe, b"")  # it is still open if we were cancelled before a thread was free to send
        raise
    return child, answer


def _check_open(files: Mapping[str, int]) -> None:
    """Before we open anything: our own pipes would get the number of a file that was closed, and be handed over.

    No layer takes anything from a descriptor that is open already, so none may be handed over with which to write.
    """
    for name, descriptor in files.items():
        try:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        except (OSError, ValueError):  # ValueError: a negative number
            raise Broken("child_died", f"A worker could not be started: its file {name!r} is not open.") from None
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise failed("files", f"the file {name!r} is open for writing")


def _check_nameless(memory: Sequence[int]) -> None:
    for descriptor in memory:
        try:
            fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)  # only files in memory have seals
            nameless = os.fstat(descriptor).st_nlink == 0
        except OSError:
            nameless = False
        if not nameless:
            raise failed("files", "a file that is to be written to is not one in memory without a name")


def _check_paired(descriptor: int) -> None:
    """A pair has no name on either side: with any other Unix socket there would be somebody else to reach."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as channel:
            paired = channel.family == socket.AF_UNIX and not channel.getsockname() and not channel.getpeername()
    except OSError:
        paired = False
    if not paired:
        raise failed("files", "what a broker is spoken with on is not a pair of sockets")


async def _process(launch: Launch, uid: int | None, message_read: int, answer_write: int) -> Process:
    """The process, which waits for its launch message. Raises Broken(`child_died`)."""
    try:
        if uid is not None and launch.private_dir is not None:
            os.chown(launch.private_dir, uid, uid)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-X", "utf8", str(_CHILD), str(message_read), str(answer_write)),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**_ENVIRONMENT, **launch.env},
            pass_fds=(message_read, answer_write, *launch.files.values(), *launch.memory, *_given(launch.channel)),
            start_new_session=True,
        )
    except (OSError, ValueError, SubprocessError) as error:  # a descriptor that is closed, a limit that is reached
        raise Broken("child_died", "A worker could not be started.", str(error)) from None


def _given(descriptor: int | None) -> tuple[int, ...]:
    return () if descriptor is None else (descriptor,)


async def _confined(child: Child, answer: _Answer, timeout_s: float) -> tuple[str, ...]:
    """The layers the child says it is behind. Raises what it says went wrong, or Broken(`child_died`)."""
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
    return tuple(said["layers"])


def _message(launch: Launch, uid: int | None) -> bytes:
    return json.dumps(
        {
            "profile": launch.profile,
            "entry": launch.entry,
            "arg": dict(launch.arg),
            "files": dict(launch.files),
            "memory": list(launch.memory),
            "channel": launch.channel,
            "private_dir": None if launch.private_dir is None else str(launch.private_dir),
            "limits": asdict(launch.limits),
            "without": sorted(launch.without),
            "uid": uid,
            "parent": os.getpid(),
            "path": [str(Path(entry).absolute()) for entry in sys.path if entry],
        }
    ).encode()


def _send(pipe: BufferedWriter, message: bytes) -> None:
    """Send the message and close the pipe, if it has not been closed."""
    with suppress(BrokenPipeError, ValueError), pipe:  # it died, and says why next; it was closed
        pipe.write(message)


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
