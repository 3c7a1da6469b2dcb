"""What is installed, file by file, and whether it is as it was installed (blocking, but for where it says so).

Every distribution lists its files with their SHA-256 in RECORD (packaging.python.org, "Recording installed projects").
Bytecode is not listed there, and Python runs that where it lies: what is compared here is the source and native code.
Programs that a package puts elsewhere (`bin/`) are not compared: the sealed service may not read them, nor start them.
"""

import base64
import hashlib
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from intramural import __version__
from intramural.core.clock import Clock
from intramural.library import Manifest
from intramural.services.attestation.facts import File, NotSeen, Software

#: Half a gigabyte of packages takes two seconds; what is not reached in this time is said to be unchecked.
MOST_S = 30.0
#: Names that are listed; of more the number is enough.
_MOST_CHANGED = 50
_READ_BYTES = 2**20
_PACKAGE = Path(__file__).parents[2]
#: Whose native code computes answers.
ENGINES = ("xllamacpp", "onnxruntime")


def software(models: Sequence[Manifest], clock: Clock) -> Software:
    """All of it."""
    until_s = clock.monotonic_s() + MOST_S
    packages, changed, unchecked = _compared(metadata.distributions(), lambda: clock.monotonic_s() < until_s)
    return Software(
        version=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        own=digest_of_tree(_PACKAGE),
        packages=packages,
        changed=tuple(changed[:_MOST_CHANGED]),
        unchecked=tuple(unchecked[:_MOST_CHANGED]),
        engine=", ".join(_versions(ENGINES)),
        engine_files=tuple(_native(ENGINES)),
        bill=_bill(models, clock.now_s()),
    )


def digest_of_tree(root: Path) -> str:
    """SHA-256 over `PATH SHA-256\\n` of every file below `root` but bytecode, by path."""
    files = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    whole = hashlib.sha256()
    for name in files:
        whole.update(f"{name} {file_digest(root / name).hex()}\n".encode())
    return whole.hexdigest()


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file. Raises OSError."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            found.update(part)
    return found.digest()


def differing(package: metadata.Distribution) -> list[str] | None:
    """Files of a distribution that are not as it lists them, or are gone; None: it lists none, or they may not be
    read."""
    listed = [each for each in package.files or () if each.hash is not None and each.parts[0] != ".."]
    if not listed:
        return None
    try:
        return [str(each) for each in listed if not _is_as_listed(each)]
    except OSError:
        return None


def _is_as_listed(file: metadata.PackagePath) -> bool:
    """Raises OSError where it is there and cannot be read."""
    assert file.hash is not None
    if file.hash.mode != "sha256":
        return False
    try:
        found = file_digest(Path(str(file.locate())))
    except FileNotFoundError:
        return False
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == file.hash.value


def _compared(
    packages: Iterable[metadata.Distribution], is_time: Callable[[], bool]
) -> tuple[int, list[str], list[str]]:
    count, changed, unchecked = 0, list[str](), list[str]()
    for each in packages:
        name = str(each.metadata["Name"])
        found = differing(each) if is_time() else None
        if found is None:
            unchecked.append(name)
        else:
            count += 1
            changed += found
    return count, changed, unchecked


def _versions(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue


def _native(names: Iterable[str]) -> Iterator[File]:
    for name in names:
        try:
            files = metadata.distribution(name).files or ()
        except metadata.PackageNotFoundError:
            continue
        for each in files:
            if ".so" in each.suffixes:
                try:
                    yield File(str(each), file_digest(Path(str(each.locate()))).hex())
                except OSError as error:
                    yield File(str(each), f"not seen: {error.strerror}")


def _bill(models: Sequence[Manifest], now_s: float) -> str | NotSeen:
    from intramural.library.provenance import bom  # a third of a second, for those alone who want one

    try:
        return bom.bill_of_installation(models, version=__version__, now_s=now_s)
    except (OSError, ValueError) as error:
        return NotSeen(str(error)[:200])
