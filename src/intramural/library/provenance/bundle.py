"""Bundles: models on their way to a machine without network, as one file or folder that the receiver can check alone.

    bundle.json               the index: every other member with its SHA-256 and length, the models, what is left out
    bundle.sig                over all of it, in the OpenSSF format; `model_signing` checks an unpacked bundle as well
    models/0001.json          what is known of a model: its files, where from, on what terms
    models/0001.sig           the model's own signature, if its publisher or this institution signed it
    licences.json  sbom.cdx.json  catalogue.json  catalogue.json.sig
    blobs/sha256/<hex>        the weights, by digest

Whoever reads a bundle first decides by `bundle.sig` whether to believe the index, then believes nothing that is not in
it. A *delta* lists the blobs that the other side has already in `lacks`.
"""

import functools
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import msgspec

from intramural.core.errors import Conflicting, IntramuralError, Misasked, Untrusted
from intramural.library.blobs import CHUNK_BYTES, Blob, disk_error, parse_digest
from intramural.library.manifest import Manifest, ModelFile, Trust
from intramural.library.names import parse_name
from intramural.library.provenance.anchors import Anchors
from intramural.library.provenance.archive import (
    END,
    INDEX,
    MAX_INDEX_BYTES,
    SIGNATURE,
    Archive,
    header,
    opened,
    padding,
    refuse,
)
from intramural.library.provenance.lock import read_lock
from intramural.library.provenance.signing import MAX_SIGNATURE_BYTES, NamedDigest, SigningKey, sign, verify
from intramural.library.threads import in_thread

MAX_SMALL_BYTES = 64 << 20
_COPY_BYTES = 4 * CHUNK_BYTES
_PATH = re.compile(
    r"(?P<model>models/[0-9]{4})\.(?:json|sig)|catalogue\.json(?:\.sig)?|licences\.json|sbom\.cdx\.json"
    r"|blobs/sha256/(?P<blob>[0-9a-f]{64})"
)


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file in a bundle."""

    path: str
    digest: str
    size_bytes: int

    def __post_init__(self) -> None:
        parse_digest(self.digest)
        if not 0 < self.size_bytes < 2**63:
            raise Untrusted("bad_size", f"{self.size_bytes} bytes is not the size of a file.")


class BundledModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bundle says of one model; the receiver finds out the rest by inspection."""

    name: str
    files: tuple[ModelFile, ...]
    source: str
    revision: str | None = None
    licence: str
    trust: Trust
    signer: str | None = None


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`bundle.json`. `made_ms`: milliseconds since the epoch, so that an older bundle cannot pass for a newer one."""

    format: Literal["intramural-bundle/1"]
    made_ms: int
    members: tuple[Member, ...]
    lacks: tuple[Blob, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """A bundle before it is written: its index, its small members, and the blobs it takes from the shelf."""

    index: bytes
    small: Mapping[str, bytes]
    blobs: tuple[Blob, ...]
    left_out: tuple[Blob, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of all content, without headers."""
        return len(self.index) + sum(map(len, self.small.values())) + sum(blob.size_bytes for blob in self.blobs)

    def named(self) -> list[NamedDigest]:
        """What the bundle's signature lists."""
        index = msgspec.json.decode(self.index, type=Index)
        return [NamedDigest(INDEX, _digest(self.index)), *(NamedDigest(m.path, m.digest) for m in index.members)]


# making ---------------------------------------------------------------------------------------------------------------


def lay_out(
    models: Sequence[tuple[Manifest, bytes | None]],
    extras: Mapping[str, bytes],
    known: Iterable[Blob] = (),
    *,
    made_ms: int,
) -> Layout:
    """What a bundle of `models`, each with its signature, holds. `known`: blobs that the receiver has. Pure."""
    small: dict[str, bytes] = {}
    for number, (manifest, signature) in enumerate(sorted(models, key=lambda each: each[0].name), start=1):
        small[f"models/{number:04}.json"] = _pretty(_bundled(manifest))
        if signature is not None:
            small[f"models/{number:04}.sig"] = signature
    small |= {path: extras[path] for path in sorted(extras)}
    wanted = sorted({file.blob for manifest, _ in models for file in manifest.files}, key=lambda blob: blob.digest)
    there = set(known)
    blobs = tuple(blob for blob in wanted if blob not in there)
    members = [Member(path, _digest(content), len(content)) for path, content in small.items()]
    members += [Member(_blob_path(blob), blob.digest, blob.size_bytes) for blob in blobs]
    index = Index(
        format="intramural-bundle/1",
        made_ms=made_ms,
        members=tuple(members),
        lacks=tuple(blob for blob in wanted if blob in there),
    )
    return Layout(_pretty(index), small, blobs, index.lacks)


def _bundled(manifest: Manifest) -> BundledModel:
    return BundledModel(
        name=manifest.name,
        files=manifest.files,
        source=manifest.source,
        revision=manifest.revision,
        licence=manifest.licence,
        trust=manifest.trust,
        signer=manifest.signer,
    )


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob_path(blob: Blob) -> str:
    return f"blobs/sha256/{blob.digest.removeprefix('sha256:')}"


async def write_bundle(
    target: Path,
    layout: Layout,
    open_blob: Callable[[str], int],
    *,
    key: SigningKey | None,
    folder: bool = False,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the bundle to `target`, which must not exist yet. What cannot be finished leaves nothing behind.

    `open_blob` gives a descriptor by digest; each is hashed on its way. Raises Conflicting(`bundle_exists`),
    Misasked(`bad_signing_key`), Untrusted(`model_digest_mismatch`), Unavailable(`disk_full`).
    """
    signature = None if key is None else await in_thread(sign, target.name, layout.named(), key)
    if target.exists() or target.is_symlink():
        raise Conflicting("bundle_exists", f"There is something at {target} already.", "Take it away.", param="to")
    unfinished = target.with_name(target.name + ".part")
    writer = _FolderWriter(unfinished) if folder else _TarWriter(unfinished)
    try:
        await in_thread(writer.begin)
        small = {INDEX: layout.index, **({} if signature is None else {SIGNATURE: signature}), **layout.small}
        for path, content in small.items():
            await in_thread(writer.small, path, content)
        done_bytes = sum(map(len, small.values()))
        for blob in layout.blobs:
            done_bytes = await _copy(writer, blob, open_blob, done_bytes, on_bytes)
        await in_thread(writer.finish, target)
    except FileExistsError as error:
        hint = f"If nobody is writing it any more, remove {unfinished}."
        raise Conflicting("bundle_exists", "Somebody is writing that bundle.", hint, param="to") from error
    except OSError as error:
        writer.undo()
        raise disk_error(error) from error
    except BaseException:
        writer.undo()
        raise


async def _copy(
    writer: "_Writer", blob: Blob, open_blob: Callable[[str], int], done_bytes: int, on_bytes: Callable[[int], None]
) -> int:
    """One blob from the shelf into the bundle, hashed on the way. Returns the bytes written so far."""
    descriptor, offset, hasher = open_blob(blob.digest), 0, hashlib.sha256()

    def more() -> int:
        chunk = os.pread(descriptor, min(_COPY_BYTES, blob.size_bytes - offset), offset)
        hasher.update(chunk)
        file.write(chunk)
        return len(chunk)

    try:
        file = await in_thread(writer.start, _blob_path(blob), blob.size_bytes)
        while offset < blob.size_bytes and (size := await in_thread(more)):
            offset += size
            on_bytes(done_bytes + offset)
        if f"sha256:{hasher.hexdigest()}" != blob.digest:
            message = "Weights on the shelf are not the bytes that were pulled."
            raise Untrusted("model_digest_mismatch", message, "Run `intramural verify --all`, and pull them again.")
        await in_thread(writer.end, file, blob.size_bytes)
    finally:
        os.close(descriptor)
    return done_bytes + blob.size_bytes


class _Writer:
    """Writes members one after another into something unfinished, which is renamed at the end."""

    def __init__(self, unfinished: Path) -> None:
        self._unfinished = unfinished

    def begin(self) -> None:
        raise NotImplementedError

    def start(self, path: str, size_bytes: int) -> IO[bytes]:
        raise NotImplementedError

    def end(self, file: IO[bytes], size_bytes: int) -> None:
        raise NotImplementedError

    def finish(self, target: Path) -> None:
        raise NotImplementedError

    def undo(self) -> None:
        raise NotImplementedError

    def small(self, path: str, content: bytes) -> None:
        file = self.start(path, len(content))
        file.write(content)
        self.end(file, len(content))


class _TarWriter(_Writer):
    _file: IO[bytes] | None = None

    def begin(self) -> None:
        self._file = self._unfinished.open("xb")

    def start(self, path: str, size_bytes: int) -> IO[bytes]:
        assert self._file is not None
        self._file.write(header(path, size_bytes))
        return self._file

    def end(self, file: IO[bytes], size_bytes: int) -> None:
        file.write(padding(size_bytes))

    def finish(self, target: Path) -> None:
        assert self._file is not None
        self._file.write(END)
        _durable(self._file)
        self._unfinished.replace(target)

    def undo(self) -> None:
        if self._file is not None:
            self._file.close()
            self._unfinished.unlink(missing_ok=True)


class _FolderWriter(_Writer):
    _ours = False

    def begin(self) -> None:
        self._unfinished.mkdir()
        self._ours = True

    def start(self, path: str, size_bytes: int) -> IO[bytes]:
        file = self._unfinished / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("xb")

    def end(self, file: IO[bytes], size_bytes: int) -> None:
        _durable(file)

    def finish(self, target: Path) -> None:
        self._unfinished.rename(target)

    def undo(self) -> None:
        if self._ours:
            shutil.rmtree(self._unfinished, ignore_errors=True)


def _durable(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


# reading --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BundleModel:
    """A model in a bundle, and its own signature if one came along."""

    about: BundledModel
    signature: bytes | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose index was believed and whose small members are what it says; the blobs' bytes are not yet read.

    `signer` is None for a bundle without signature.
    """

    index: Index
    models: tuple[BundleModel, ...]
    extras: Mapping[str, bytes]
    signer: str | None

    @property
    def size_bytes(self) -> int:
        return sum(member.size_bytes for member in self.index.members)


def read_bundle(path: Path, anchors: Anchors, *, now_s: float) -> Bundle:
    """Check everything but the blobs' bytes: signature, then that exactly the members of the index are there.

    Raises Untrusted (`signature_…`, `bundle_…`), Missing(`bundle_not_readable`).
    """
    with opened(path) as archive:
        try:
            index, raw = _index(archive)
            signer = _signer(archive, index, raw, anchors, now_s)
            archive.expect({member.path: member.size_bytes for member in index.members})
            small = {m.path: _small(archive, m) for m in index.members if not m.path.startswith("blobs/")}
        except OSError as error:
            message = f"The bundle cannot be read: {error.strerror}."
            raise Untrusted("bundle_unreadable", message, "Nothing was changed. Check the disk it is on.") from error
    models = tuple(_model(path, small) for path in small if _is_model(path))
    _require_complete(index, models)
    extras = {path: content for path, content in small.items() if not path.startswith("models/")}
    return Bundle(index, models, extras, signer)


def _index(archive: Archive) -> tuple[Index, bytes]:
    raw = archive.first(INDEX, MAX_INDEX_BYTES) or b""
    try:
        index = msgspec.json.decode(raw, type=Index)
    except (msgspec.DecodeError, UnicodeDecodeError, Untrusted) as error:
        refuse("bundle_unreadable", f"Its index is damaged, or of another version than this: {error}.")
    seen = set()
    for member in index.members:
        match = _PATH.fullmatch(member.path)
        if match is None or (match["blob"] and f"sha256:{match['blob']}" != member.digest):
            refuse("bundle_names", f"{member.path[:80]!r} cannot be a member of a bundle.")
        if member.path in seen:
            refuse("bundle_duplicate", f"{member.path} is in its index twice.")
        if not match["blob"] and member.size_bytes > MAX_SMALL_BYTES:
            refuse("bundle_too_large", f"Its {member.path} is larger than any is.")
        seen.add(member.path)
    return index, raw


def _signer(archive: Archive, index: Index, raw: bytes, anchors: Anchors, now_s: float) -> str | None:
    """Who signed the index and every member it lists; None if nobody did."""
    signature = archive.first(SIGNATURE, MAX_SIGNATURE_BYTES)
    if signature is None:
        return None
    named = [NamedDigest(INDEX, _digest(raw)), *(NamedDigest(m.path, m.digest) for m in index.members)]
    return str(verify(signature, named, anchors, now_s=now_s))


def _small(archive: Archive, member: Member) -> bytes:
    content = archive.pread(member.path, member.size_bytes, 0)
    if _digest(content) != member.digest:
        refuse("bundle_mismatch", f"{member.path} in the bundle is not what its index says.")
    return content


def _is_model(path: str) -> bool:
    return path.startswith("models/") and path.endswith(".json")


def _model(path: str, small: Mapping[str, bytes]) -> BundleModel:
    try:
        about = msgspec.json.decode(small[path], type=BundledModel)
        if parse_name(about.name) != about.name or not about.files or about.files[0].role != "weights":
            raise ValueError("it has no name or no weights")
    except (msgspec.DecodeError, UnicodeDecodeError, Untrusted, Misasked, ValueError) as error:
        refuse("bundle_unreadable", f"{path} in the bundle is malformed: {error}.")
    return BundleModel(about, small.get(path.replace(".json", ".sig")))


def _require_complete(index: Index, models: Sequence[BundleModel]) -> None:
    """Every file of every model is here or known to be there already, and nothing else is."""
    named = [model.about.name for model in models]
    if len(set(named)) != len(named):
        refuse("bundle_duplicate", "A model is in the bundle twice.")
    wanted = {file.blob for model in models for file in model.about.files}
    carried = {Blob(m.digest, m.size_bytes) for m in index.members if m.path.startswith("blobs/")}
    if wanted - carried - set(index.lacks):
        refuse("bundle_incomplete", "Weights that a model in the bundle needs are not in it.")
    if (carried | set(index.lacks)) - wanted:
        refuse("bundle_extra", "The bundle has weights that belong to no model in it.")


@contextmanager
def blob_reader(path: Path, bundle: Bundle, blob: Blob) -> Iterator[Callable[[int, int], bytes]]:
    """(size in bytes, offset) -> bytes of a blob in the bundle at `path`; what they are is for the caller to check.

    Raises Untrusted when the bundle no longer has the members it had.
    """
    with opened(path) as archive:
        archive.first(INDEX, MAX_INDEX_BYTES)
        archive.first(SIGNATURE, MAX_SIGNATURE_BYTES)
        archive.expect({member.path: member.size_bytes for member in bundle.index.members})
        yield functools.partial(archive.pread, _blob_path(blob))


def blobs_known(path: Path) -> set[Blob]:
    """What a receiver has according to its `models.lock`, or to a bundle it was given earlier: no need to send it.

    Raises Misasked(`bad_lock`), Untrusted, Missing(`bundle_not_readable`).
    """
    try:
        with opened(path) as archive:
            index, _ = _index(archive)
    except IntramuralError as error:
        if error.code not in ("bundle_unreadable",) or not path.is_file():
            raise
        lock = read_lock(path.read_text("utf-8", errors="replace"))
        return {file.blob for model in lock.model for file in model.files}
    carried = {Blob(m.digest, m.size_bytes) for m in index.members if m.path.startswith("blobs/")}
    return carried | set(index.lacks)
