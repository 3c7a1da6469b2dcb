"""What workers had computed of conversations, kept on disk, encrypted: so that nobody waits for it a second time.

Blocking; callers use threads. One folder a tenant, under a name that says nothing; one file a state:

    magic (8) · length of the head (2) · head in clear: engine and model, as JSON · salt (16)
    length of the sealed card (4) · sealed card: what it is a state of
    sealed chunks of 1 MiB, the last one shorter, and marked as the last

Everything sealed is ChaCha20-Poly1305 (RFC 8439) under a key of this file alone, made of the tenant's key and the salt;
the nonce is the chunk's number and whether it is the last, so chunks can be neither reordered, exchanged nor cut off.
Bound to all of it are the tenant, the head, and the *home*: a digest of all that has to be the same for a state to fit
(weights, template, engine, context). Any file that does not open is removed and never an error: the prompt is then read
as if there had been none.
"""

import errno
import logging
import os
import secrets
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from shutil import disk_usage
from threading import Lock

import msgspec

from intramural.serving.marks import Marks, shared

log = logging.getLogger(__name__)

CHUNK_BYTES = 2**20
_MAGIC = b"IMSTATE\x01"
_SALT_BYTES, _TAG_BYTES = 16, 16
_HEAD_LIMIT, _CARD_LIMIT = 4096, 2**24
#: The card's place among the chunks: no state has so many.
_CARD = 2**32 - 1
#: More than this many states of one tenant are not looked through.
_MOST_EACH = 256
_SUFFIX, _PART = ".state", ".part"


@dataclass(frozen=True, slots=True)
class Home:
    """Where a state fits. `model` is the digest of the weights, `setting` one of everything else but the engine."""

    model: str
    setting: str


class _Head(msgspec.Struct):
    engine: str
    model: str


class _Card(msgspec.Struct):
    setting: str
    size_bytes: int
    mark_bytes: int
    marks: bytes


@dataclass(frozen=True, slots=True)
class State:
    """One kept state. `size_bytes` is what the engine reads; its file is a little longer."""

    path: Path
    tenant: str
    home: Home
    marks: Marks
    size_bytes: int


class _Damaged(Exception):
    """A file that is not what was written."""


class States:
    """All that is kept in `folder`, at most `limit_bytes` together; what was used longest ago goes first.

    `key_of` gives the secret of a tenant (32 bytes), the same one for ever. Nothing is kept that would leave less than
    `keep_free_bytes` of the disk.
    """

    def __init__(
        self,
        folder: Path,
        key_of: Callable[[str], bytes],
        limit_bytes: int,
        engine: str,
        *,
        keep_free_bytes: int = 0,
    ) -> None:
        self.limit_bytes = limit_bytes
        self._keep_free_bytes = keep_free_bytes
        self._folder = folder
        self._key_of = key_of
        self._engine = engine
        self._lock = Lock()
        self._sizes: dict[Path, int] = {}  # of all files, the one used longest ago first
        self._read: dict[str, dict[Path, State]] = {}  # of those tenants who were asked for
        self._gone: set[str] = set()

    def open(self) -> None:
        """Find what is there. What another engine made, what was not finished, and what is too much goes."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found: list[tuple[float, Path, int]] = []
        for path in self._folder.glob("*/*"):
            head = _head_of(path) if path.suffix == _SUFFIX else None
            if head is None or head.engine != self._engine:
                path.unlink(missing_ok=True)
                continue
            facts = path.stat()
            found.append((facts.st_mtime, path, facts.st_size))
        for folder in self._folder.iterdir():
            with suppress(OSError):  # not empty
                folder.rmdir()
        with self._lock:
            self._sizes = {path: size for _, path, size in sorted(found)}
            self._make_room(0)

    @property
    def used_bytes(self) -> int:
        """What the files take."""
        return sum(tuple(self._sizes.values()))  # a copy: threads add and remove

    # Finding

    def marks_key(self, tenant: str) -> bytes:
        """Of the marks of `tenant`'s prompts."""
        return blake2b(b"marks", key=self._key_of(tenant), digest_size=32).digest()

    def knows(self, tenant: str) -> bool:
        """Whether `longest` answers without looking at the disk."""
        return tenant in self._read

    def longest(self, tenant: str, home: Home, marks: Marks) -> State | None:
        """The state whose prompt has most in common with `marks` from the beginning; None if none has anything."""
        with self._lock:
            fitting = [state for state in self._of(tenant).values() if state.home == home]
        best = max(fitting, key=lambda state: (shared(state.marks, marks), -state.size_bytes), default=None)
        return best if best is not None and shared(best.marks, marks) else None

    def _of(self, tenant: str) -> dict[Path, State]:
        if tenant not in self._read:
            folder = self._folder_of(tenant)
            mine = [path for path in reversed(self._sizes) if path.parent == folder][:_MOST_EACH]
            self._read[tenant] = {path: state for path in mine if (state := self._state(tenant, path)) is not None}
        return self._read[tenant]

    def _state(self, tenant: str, path: Path) -> State | None:
        try:
            with path.open("rb") as file:
                head, _, card = self._begin(tenant, file.fileno())
        except (OSError, _Damaged):
            self._drop(path)
            return None
        marks = tuple(card.marks[at : at + card.mark_bytes] for at in range(0, len(card.marks), card.mark_bytes or 1))
        return State(path, tenant, Home(head.model, card.setting), marks, card.size_bytes)

    # Keeping

    def keep(self, tenant: str, home: Home, marks: Marks, source: int, size_bytes: int) -> int:
        """Keep the first `size_bytes` of the descriptor `source`; how many bytes the file has, 0 if it was not kept.

        What this one goes on from is not needed any longer, and goes.
        """
        if tenant in self._gone or f"model:{home.model}" in self._gone or size_bytes > self.limit_bytes:
            return 0
        folder = self._folder_of(tenant)
        part = folder / f"{secrets.token_hex(12)}{_PART}"
        try:
            with self._lock:
                self._make_room(size_bytes)
            if disk_usage(self._folder).free < size_bytes + self._keep_free_bytes:
                return 0
            folder.mkdir(mode=0o700, exist_ok=True)
            written = self._write(part, tenant, home, marks, source, size_bytes)
            with self._lock:
                if tenant in self._gone or f"model:{home.model}" in self._gone:
                    return 0
                path = part.with_suffix(_SUFFIX)
                part.rename(path)
                known = self._of(tenant)
                for old in [each for each in known.values() if each.home == home and _goes_on(marks, each.marks)]:
                    self._drop(old.path)
                self._sizes[path] = written
                known[path] = State(path, tenant, home, marks, size_bytes)
                self._make_room(0)
            return written
        except OSError as error:  # the disk is full, or broken: then it is read again one day
            log.warning("a state was not kept: %s", errno.errorcode.get(error.errno or 0, "unknown"))
            return 0
        finally:
            part.unlink(missing_ok=True)

    def _write(self, part: Path, tenant: str, home: Home, marks: Marks, source: int, size_bytes: int) -> int:
        head = msgspec.json.encode(_Head(self._engine, home.model))
        card = _Card(home.setting, size_bytes, len(marks[0]) if marks else 0, b"".join(marks))
        salt = secrets.token_bytes(_SALT_BYTES)
        cipher, bound = self._cipher(tenant, salt), _bound(tenant, head)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600), "wb") as out:
            sealed = cipher.seal(_CARD, msgspec.msgpack.encode(card), bound, last=True)
            out.write(_MAGIC + struct.pack("<H", len(head)) + head + salt + struct.pack("<I", len(sealed)) + sealed)
            for number, last, length in _chunks(size_bytes):
                chunk = os.pread(source, length, number * CHUNK_BYTES)
                if len(chunk) != length:
                    raise OSError(errno.EIO, "the state is shorter than it was said to be")
                out.write(cipher.seal(number, chunk, bound, last=last))
            return out.tell()

    # Bringing back

    def bring(self, state: State, target: int) -> bool:
        """Write `state` to the descriptor `target`, from its beginning. False: it is not to be had, and gone."""
        try:
            with state.path.open("rb") as file:
                head, cipher, card = self._begin(state.tenant, file.fileno())
                if card.size_bytes != state.size_bytes or (head.model, card.setting) != (
                    state.home.model,
                    state.home.setting,
                ):
                    raise _Damaged
                bound = _bound(state.tenant, msgspec.json.encode(head))
                for number, last, length in _chunks(card.size_bytes):
                    sealed = _exactly(file.fileno(), length + _TAG_BYTES)
                    _write_all(target, cipher.open(number, sealed, bound, last=last), number * CHUNK_BYTES)
        except (OSError, _Damaged):
            with self._lock:
                self._drop(state.path)
            return False
        with self._lock:
            if state.path in self._sizes:
                self._sizes[state.path] = self._sizes.pop(state.path)
        try:
            os.utime(state.path)
        except OSError:
            log.debug("a state's time was not noted")
        return True

    def drop(self, state: State) -> None:
        """It is of no use: the engine did not take it."""
        with self._lock:
            self._drop(state.path)

    # Forgetting

    def forget(self, tenant: str, *, for_good: bool = True) -> None:
        """Nothing of this tenant is kept; and nothing will be, if that is `for_good`."""
        with self._lock:
            if for_good:
                self._gone.add(tenant)
            self._read.pop(tenant, None)
            folder = self._folder_of(tenant)
            for path in [each for each in self._sizes if each.parent == folder]:
                self._drop(path)
            with suppress(OSError):  # one that is just being written takes itself away
                for path in folder.iterdir():
                    path.unlink(missing_ok=True)
                folder.rmdir()

    def forget_older(self, before_s: float) -> int:
        """What was last used before this time (seconds since the epoch) is not kept any longer. How many went."""
        with self._lock:
            old = [path for path in self._sizes if _used_s(path) < before_s]
            for path in old:
                self._drop(path)
            return len(old)

    def forget_model(self, digest: str) -> None:
        """Nothing of these weights is kept, nor will be before they are `welcome` again."""
        with self._lock:
            self._gone.add(f"model:{digest}")
            for path in list(self._sizes):
                head = _head_of(path)
                if head is None or head.model == digest:
                    self._drop(path)

    def welcome(self, digest: str) -> None:
        """These weights are served (again)."""
        self._gone.discard(f"model:{digest}")

    # Inside

    def _folder_of(self, tenant: str) -> Path:
        return self._folder / blake2b(b"folder", key=self._key_of(tenant), digest_size=16).hexdigest()

    def _cipher(self, tenant: str, salt: bytes) -> "_Cipher":
        return _Cipher(blake2b(b"state" + salt, key=self._key_of(tenant), digest_size=32).digest())

    def _begin(self, tenant: str, descriptor: int) -> "tuple[_Head, _Cipher, _Card]":
        """Read up to the first chunk. Raises _Damaged."""
        head, raw = _read_head(descriptor)
        cipher = self._cipher(tenant, _exactly(descriptor, _SALT_BYTES))
        (length,) = struct.unpack("<I", _exactly(descriptor, 4))
        if length > _CARD_LIMIT:
            raise _Damaged
        try:
            card = cipher.open(_CARD, _exactly(descriptor, length), _bound(tenant, raw), last=True)
            return head, cipher, msgspec.msgpack.decode(card, type=_Card)
        except msgspec.DecodeError:
            raise _Damaged from None

    def _drop(self, path: Path) -> None:
        self._sizes.pop(path, None)
        for states in self._read.values():
            states.pop(path, None)
        path.unlink(missing_ok=True)

    def _make_room(self, size_bytes: int) -> None:
        while self._sizes and self.used_bytes + size_bytes > self.limit_bytes:
            self._drop(next(iter(self._sizes)))


class _Cipher:
    """Seals and opens the pieces of one file. What that takes is loaded here and not above: every worker has this
    package too, has no use for it, and would need 7 MiB more."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        self._aead = ChaCha20Poly1305(key)

    def seal(self, number: int, data: bytes, bound: bytes, *, last: bool) -> bytes:
        return self._aead.encrypt(_nonce(number, last=last), data, bound)

    def open(self, number: int, data: bytes, bound: bytes, *, last: bool) -> bytes:
        """Raises _Damaged."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._aead.decrypt(_nonce(number, last=last), data, bound)
        except InvalidTag:
            raise _Damaged from None


def _goes_on(marks: Marks, earlier: Marks) -> bool:
    """Whether the state of `marks` makes that of `earlier` needless: but for its last piece it is in it."""
    return len(earlier) <= len(marks) and shared(marks, earlier) >= len(earlier) - 1


def _bound(tenant: str, head: bytes) -> bytes:
    return _MAGIC + struct.pack("<H", len(head)) + head + tenant.encode()


def _nonce(number: int, *, last: bool) -> bytes:
    return bytes(7) + struct.pack("<I?", number, last)


def _chunks(size_bytes: int) -> Iterator[tuple[int, bool, int]]:
    """Number, whether it is the last, and length of each."""
    count = max(1, -(-size_bytes // CHUNK_BYTES))
    for number in range(count):
        yield number, number == count - 1, min(CHUNK_BYTES, size_bytes - number * CHUNK_BYTES)


def _read_head(descriptor: int) -> tuple[_Head, bytes]:
    if _exactly(descriptor, len(_MAGIC)) != _MAGIC:
        raise _Damaged
    (length,) = struct.unpack("<H", _exactly(descriptor, 2))
    if length > _HEAD_LIMIT:
        raise _Damaged
    raw = _exactly(descriptor, length)
    try:
        return msgspec.json.decode(raw, type=_Head), raw
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _Damaged from None


def _head_of(path: Path) -> _Head | None:
    try:
        with path.open("rb") as file:
            return _read_head(file.fileno())[0]
    except (OSError, _Damaged):
        return None


def _used_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it is just going
        return 0.0


def _exactly(descriptor: int, size_bytes: int) -> bytes:
    parts: list[bytes] = []
    while size_bytes:
        part = os.read(descriptor, size_bytes)
        if not part:
            raise _Damaged
        parts.append(part)
        size_bytes -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written
