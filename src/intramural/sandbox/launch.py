"""What a confined child is given, whether it may have it, and its process begun. Nothing else here starts one.

No event loop and few imports: it runs in the spawner (a process of its own, see `spawner`), and in the process itself
where a command opens the house for a moment.
"""

import fcntl
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from intramural.core.errors import Broken
from intramural.core.quiet import SWITCHES
from intramural.sandbox import control, users
from intramural.sandbox.kernel import failed
from intramural.sandbox.profiles import CONNECTS, READABLE
from intramural.sandbox.seccomp import Profile

#: Tries what must fail, with layers left out on purpose, to find out which hold on this machine. It does nothing else.
WITNESS = "intramural.sandbox.posture:witness"
#: Those that try what is refused, because that is what they are there for: nobody is told of it.
_TRIES = frozenset({WITNESS, control.ENTRY})

_CHILD = Path(__file__).with_name("child.py")
#: What a process of ours needs of the environment, before it is told its paths: next to nothing.
ENVIRONMENT = {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **SWITCHES}
#: What a setting of a library looks like: a number or a word, no path.
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,64}")
#: Ignored by Python, and by the spawner; a program finds them as they come.
_USUAL_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)


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
    spoken with; the child finds it among its files under that name. `about` says for people what the child is there
    for (it does not hear that). `without` leaves layers out: for tests, and for
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
    about: str = ""

    @property
    def is_told(self) -> bool:
        """Whether somebody hears of what the child is refused."""
        return "seccomp" not in self.without and self.entry not in _TRIES

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that the child is handed, by our numbers."""
        return (*self.files.values(), *self.memory, *(() if self.channel is None else (self.channel,)))


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be started at all, laid down before anything from outside was read. The defaults allow everything.

    `package`: where entries come from. `without`: layers that may be missing, because an administrator named the
    downgrade. `run_dir`: private directories lie in it; `run_door` is a descriptor of it. `env`: names that a launch
    may set. `connects`: whether a child may be one that connects.
    """

    package: str | None = None
    without: frozenset[str] | None = None
    run_dir: Path | None = None
    run_door: int | None = None
    env: frozenset[str] | None = None
    connects: bool = True


@dataclass(frozen=True, slots=True)
class Started:
    """A process that was begun, and the user lent to it until it has ended. By `door` it hands over the listener of its
    filter (see `hearing`)."""

    pid: int
    lent: users.Lent | None
    door: socket.socket | None


def begin(launch: Launch, log: int, answer: int, rules: Rules, at: Mapping[int, int] | None = None) -> Started:
    """Begin the child. It imports, confines itself and says so on `answer`; its output goes to `log`.

    `at`: our number of each descriptor of the launch, where that is another one. Raises Broken(`confinement_failed`)
    for what `rules` forbid, Broken(`child_died`) when no process can be had, Unavailable(`no_worker_user`).
    """
    handed = _handed(launch, at)
    _require(launch, rules)
    check_files(launch, handed)
    lent = users.lend() if os.geteuid() == 0 and "uid" not in launch.without else None
    door: socket.socket | None = None
    hand: socket.socket | None = None
    try:
        if launch.is_told:
            door, hand = socket.socketpair()
        pid = _begun(launch, log, answer, hand, handed, rules, None if lent is None else lent.uid)
        return Started(pid, lent, door)
    except BaseException as error:
        if door is not None:
            door.close()
        if lent is not None:
            lent.give_back()
        if isinstance(error, OSError | ValueError):  # a limit that is reached, a directory that is gone
            raise Broken("child_died", "A worker could not be started.", str(error)) from None
        raise
    finally:
        if hand is not None:
            hand.close()


def _handed(launch: Launch, at: Mapping[int, int] | None) -> dict[int, int]:
    """The child's number of each descriptor → ours."""
    return {number: number if at is None else at[number] for number in launch.descriptors}


def _require(launch: Launch, rules: Rules) -> None:
    if launch.profile in CONNECTS and not rules.connects:
        raise failed("network", "no setting allows to connect to anybody")
    if rules.package is not None and not launch.entry.startswith(f"{rules.package}."):
        raise failed("entry", f"{launch.entry!r} is not of {rules.package}")
    if rules.without is not None and launch.entry != WITNESS and not launch.without <= rules.without:
        missing = ", ".join(sorted(launch.without - rules.without))
        raise failed(missing, "no setting allows to do without it")
    private = launch.private_dir
    if rules.run_dir is not None and private is not None and (private.parent != rules.run_dir or private.name == ".."):
        raise failed("private_dir", f"it does not lie in {rules.run_dir}")
    for name, value in launch.env.items():
        if rules.env is not None and (name not in rules.env or not _PLAIN_VALUE.fullmatch(value)):
            raise failed("environment", f"{name} may not be set like this")


def check_files(launch: Launch, handed: Mapping[int, int] | None = None) -> None:
    """No layer takes anything from a descriptor that is open already, so none may be handed over with which to write.

    To be called before anything is opened for a launch: it would get the number of a file that was closed, and be
    handed over in its place. Raises Broken(`confinement_failed`, `child_died`).
    """
    handed = _handed(launch, None) if handed is None else handed
    for name, number in (
        *launch.files.items(),
        *((f"memory {place}", each) for place, each in enumerate(launch.memory)),
    ):
        try:
            flags = fcntl.fcntl(handed[number], fcntl.F_GETFL)
        except (OSError, ValueError):  # ValueError: a negative number
            raise Broken("child_died", f"A worker could not be started: its file {name!r} is not open.") from None
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise failed("files", f"the file {name!r} is open for writing")
    for number in launch.memory:
        try:
            fcntl.fcntl(handed[number], fcntl.F_GET_SEALS)  # only files in memory have seals
            nameless = os.fstat(handed[number]).st_nlink == 0
        except OSError:
            nameless = False
        if not nameless:
            raise failed("files", "a file that is to be written to is not one in memory without a name")
    if launch.channel is not None:
        _check_paired(handed[launch.channel])


def _check_paired(descriptor: int) -> None:
    """A pair has no name on either side: with any other Unix socket there would be somebody else to reach."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as channel:
            paired = channel.family == socket.AF_UNIX and not channel.getsockname() and not channel.getpeername()
    except OSError:
        paired = False
    if not paired:
        raise failed("files", "what a broker is spoken with on is not a pair of sockets")


def _begun(
    launch: Launch,
    log: int,
    answer: int,
    hand: socket.socket | None,
    handed: Mapping[int, int],
    rules: Rules,
    uid: int | None,
) -> int:
    if uid is not None and launch.private_dir is not None:
        _give(launch.private_dir, rules.run_door, uid)
    message_at, answer_at, hand_at = _free(handed)
    message = _memory(_message(launch, uid, None if hand is None else hand_at))
    #: number in the child → ours
    wanted = {1: log, 2: log, message_at: message, answer_at: answer, **handed}
    if hand is not None:
        wanted[hand_at] = hand.fileno()
    apart: list[int] = []
    try:
        actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        for number, ours in wanted.items():
            apart.append(_apart(ours, wanted))
            actions.append((os.POSIX_SPAWN_DUP2, apart[-1], number))
        return os.posix_spawn(
            sys.executable,
            (sys.executable, "-I", "-X", "utf8", str(_CHILD), str(message_at), str(answer_at)),
            {**ENVIRONMENT, **launch.env},
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_USUAL_SIGNALS,
        )
    finally:
        for each in (*apart, message):
            os.close(each)


def _give(directory: Path, door: int | None, uid: int) -> None:
    """No link is followed: whoever may write beside it could have put one there, and what it leads to is given away."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(directory if door is None else directory.name, flags, dir_fd=door)
    try:
        os.fchown(descriptor, uid, uid)
    finally:
        os.close(descriptor)


def _free(taken: Iterable[int]) -> Sequence[int]:
    """Three numbers that the launch has no use for."""
    held = frozenset(taken)
    return [number for number in range(3, len(held) + 6) if number not in held][:3]


def _apart(descriptor: int, wanted: Mapping[int, int]) -> int:
    """A duplicate under a number that no other one is to be put on."""
    passed: list[int] = []
    while not passed or passed[-1] in wanted:
        passed.append(os.dup(descriptor))
    for each in passed[:-1]:
        os.close(each)
    return passed[-1]


def _memory(data: bytes) -> int:
    """A file in memory to read `data` from: it may be longer than a pipe holds, and nobody waits for a reader."""
    descriptor = os.memfd_create("launch", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _message(launch: Launch, uid: int | None, hand: int | None) -> bytes:
    return json.dumps(
        {
            "profile": launch.profile,
            "entry": launch.entry,
            "arg": dict(launch.arg),
            "files": dict(launch.files),
            "memory": list(launch.memory),
            "channel": launch.channel,
            "hand": hand,
            "private_dir": None if launch.private_dir is None else str(launch.private_dir),
            "limits": asdict(launch.limits),
            "without": sorted(launch.without),
            "uid": uid,
            "parent": os.getpid(),
            "path": [str(Path(entry).absolute()) for entry in sys.path if entry],
        }
    ).encode()


# between the service and its spawner ----------------------------------------------------------------------------------


def packed(launch: Launch) -> bytes:
    """As text for another process; its descriptors travel beside it."""
    private = None if launch.private_dir is None else str(launch.private_dir)
    given = {name: getattr(launch, name) for name in ("profile", "entry", "memory", "channel")}
    given |= {"arg": dict(launch.arg), "files": dict(launch.files), "env": dict(launch.env), "private_dir": private}
    return json.dumps({**given, "limits": asdict(launch.limits), "without": sorted(launch.without)}).encode()


def unpacked(data: bytes) -> Launch:
    """What `packed` made, or a process that was taken over. Raises ValueError, TypeError, KeyError, AttributeError."""
    given = json.loads(data)
    profile = given["profile"]
    if profile not in READABLE:
        raise ValueError("no such profile")
    return Launch(
        profile=profile,
        entry=str(given["entry"]),
        arg=dict(given["arg"]),
        files={str(name): int(number) for name, number in given["files"].items()},
        private_dir=None if given["private_dir"] is None else Path(given["private_dir"]),
        env={str(name): str(value) for name, value in given["env"].items()},
        limits=Limits(**given["limits"]),
        without=frozenset(map(str, given["without"])),
        memory=tuple(map(int, given["memory"])),
        channel=None if given["channel"] is None else int(given["channel"]),
    )
