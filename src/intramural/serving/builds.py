"""Which build of llama.cpp computes, what of its published flaws that build has fixed, and whether it is new enough.

Pure, but for `installed`, which looks at what is installed. The embedded engine is the package `xllamacpp`, whose last
number of its version is the build (its `scripts/generate-release-version.sh`); an engine elsewhere says `bNNNN-commit`
in `build_info` of `/props`.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from intramural.core.errors import Refused, Untrusted

PACKAGE: Final = "xllamacpp"
#: In `sandbox.older_engines`: the engine that comes with the product.
EMBEDDED: Final = "embedded"


@dataclass(frozen=True, slots=True)
class Flaw:
    """A published flaw, fixed in `build` and later. `source` has the record of it."""

    cve: str
    build: int
    where: str

    @property
    def source(self) -> str:
        """The CVE list's own record."""
        _, year, number = self.cve.split("-")
        return f"https://github.com/CVEProject/cvelistV5/blob/main/cves/{year}/{number[:-3]}xxx/{self.cve}.json"


#: Those whose record names the build of the fix. The others are in docs/engine.md.
FLAWS: Final = (
    Flaw("CVE-2024-32878", 2740, "reading a GGUF header: an uninitialised pointer is freed"),
    Flaw("CVE-2024-42477", 3561, "RPC backend: a type that is none is looked up"),
    Flaw("CVE-2025-49847", 5662, "vocabulary: a token's length is cut to 32 bits"),
    Flaw("CVE-2025-52566", 5721, "tokenising: sizes are compared as signed and unsigned"),
    Flaw("CVE-2026-33298", 7824, "tensor sizes: a product wraps"),
    Flaw("CVE-2026-27940", 8146, "reading a GGUF header: a sum of sizes wraps"),
    Flaw("CVE-2026-34159", 8492, "RPC backend: no bounds where a buffer is 0"),
    Flaw("CVE-2026-107183", 11393, "answers' parser: freed memory is used, and freed twice"),
    Flaw("CVE-2026-118375", 11865, "RPC backend over RDMA: a write past a variable on the stack"),
)
#: Flaws of parts that no engine here has: the filter of its process refuses every socket that they need.
NOT_REACHABLE: Final = frozenset({"CVE-2024-42477", "CVE-2026-34159", "CVE-2026-118375"})
#: The first build with a fix for all of them that a model's file or a request could reach.
FLOOR: Final = max(each.build for each in FLAWS if each.cve not in NOT_REACHABLE)

_VERSION: Final = re.compile(r"\d{4}\.\d{1,2}\.(\d{3,7})(?:\.post\d+)?")
_BUILD_INFO: Final = re.compile(r"b(\d{1,7})(?:-[0-9a-f]{6,40})?")
_LOOKS_AT_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Engine:
    """The embedded engine as it is installed. `build` None: nothing says which. `digest`: of its native module."""

    version: str
    build: int | None
    digest: str
    intact: bool

    def open_flaws(self) -> tuple[Flaw, ...]:
        """Published flaws that this build has not fixed."""
        return () if self.build is None else tuple(each for each in FLAWS if each.build > self.build)


def build_of_version(version: str) -> int | None:
    """The build that `xllamacpp` of that version contains; None where it does not say."""
    found = _VERSION.fullmatch(version)
    return int(found[1]) if found else None


def build_of_info(build_info: str) -> int | None:
    """The build in `b11549-0f1a2b3c`; None where it does not say: self-made builds say 0."""
    found = _BUILD_INFO.fullmatch(build_info[:_LOOKS_AT_MOST])
    return int(found[1]) or None if found else None


def require_build(name: str, build: int | None, floor: int, allowed: Sequence[str]) -> None:
    """Raises Refused(`engine_build_unknown`, `engine_too_old`) unless `build` is `floor` or newer, or the engine's
    `name` is among those `allowed` to be older."""
    if name in allowed or (build is not None and build >= floor):
        return
    hint = f"Update it, or name {name} in sandbox.older_engines, which is written into the log."
    if build is None:
        message = f"The engine {name} does not say which build of llama.cpp it is; b{floor} or newer is required."
        raise Refused("engine_build_unknown", message, hint)
    fixed = [each.cve for each in FLAWS if build < each.build <= floor]
    flaws = f" It has {', '.join(fixed)}." if fixed else ""
    raise Refused(
        "engine_too_old", f"The engine {name} is build b{build} of llama.cpp; b{floor} is required.{flaws}", hint
    )


def require_intact(engine: Engine) -> None:
    """Raises Untrusted(`engine_changed`) if the engine's native module is not the one that was installed."""
    if not engine.intact:
        message = f"The engine's native module is not the one that {PACKAGE} {engine.version} was installed with."
        raise Untrusted("engine_changed", message, "Install the product again, from its lock file.")


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with the embedded engine. `refused`: the code of what keeps it from being started. `open_flaws`:
    published, and not fixed in it; `unreachable` are those of parts that it does not have here."""

    version: str
    build: int | None
    digest: str
    floor: int
    refused: str | None
    open_flaws: tuple[str, ...]
    unreachable: tuple[str, ...]


def standing_of(engine: Engine, floor: int, allowed: Sequence[str]) -> Standing:
    """What people are shown of `engine`, where `floor` is asked for and `allowed` may be older."""
    refused = None
    try:
        require_intact(engine)
        require_build(EMBEDDED, engine.build, floor, allowed)
    except (Refused, Untrusted) as error:
        refused = error.code
    found = tuple(each.cve for each in engine.open_flaws())
    unreachable = tuple(each for each in found if each in NOT_REACHABLE)
    reachable = tuple(each for each in found if each not in NOT_REACHABLE)
    return Standing(engine.version, engine.build, engine.digest, floor, refused, reachable, unreachable)


@cache
def installed() -> Engine:
    """What is installed, hashed once."""
    return examined(PACKAGE)


def examined(package: str) -> Engine:
    """What is installed as `package`: its native modules against the digests that they were installed with."""
    version = metadata.version(package)
    modules = [each for each in metadata.files(package) or () if each.suffix == ".so"]
    total, intact = hashlib.sha256(), bool(modules)
    for each in sorted(modules, key=str):
        with Path(str(each.locate())).open("rb") as module:
            digest = hashlib.file_digest(module, "sha256").digest()
        told = None if each.hash is None else each.hash.value
        intact &= told == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        total.update(digest)
    return Engine(version, build_of_version(version), f"sha256:{total.hexdigest()}", intact)
