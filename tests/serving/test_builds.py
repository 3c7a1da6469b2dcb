"""Which build of the engine is new enough, and what is said of one that is not."""

import base64
import hashlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.direct import direct
from tests.fakes.llama_server import remote
from tests.fakes.remote_engine import Engine as Elsewhere
from tests.fakes.web import serving
from tests.serving.pools import model

from intramural.core.clock import SystemClock
from intramural.core.errors import Refused, Untrusted
from intramural.sandbox import probe
from intramural.serving import Compute, SandboxedSpawner
from intramural.serving.builds import (
    FLAWS,
    FLOOR,
    NOT_REACHABLE,
    Engine,
    build_of_info,
    build_of_version,
    examined,
    installed,
    require_build,
    require_intact,
    standing_of,
)
from intramural.serving.remote.link import Link


@pytest.mark.parametrize(
    ("version", "build"),
    [("2026.10.11549", 11549), ("2026.4.8672", 8672), ("2026.4.8672.post1", 8672), ("0.2.7", None), ("", None)],
)
def test_the_build_in_a_version(version: str, build: int | None) -> None:
    assert build_of_version(version) == build


@pytest.mark.parametrize(
    ("said", "build"),
    [("b11549-0f1a2b3c4", 11549), ("b10615", 10615), ("b0-unknown", None), ("b0-0f1a2b3c", None), ("", None),
     ("0.2.0", None), ("b11549-dirty!", None), ("b" + "9" * 5000, None), ("B1", None)],
)  # fmt: skip
def test_the_build_that_a_server_says(said: str, build: int | None) -> None:
    assert build_of_info(said) == build


def test_what_is_installed_is_new_enough_and_as_it_was_installed() -> None:
    engine = installed()
    require_intact(engine)
    require_build("embedded", engine.build, FLOOR, ())
    standing = standing_of(engine, FLOOR, ())
    assert (standing.refused, standing.open_flaws) == (None, ())
    assert set(standing.unreachable) <= NOT_REACHABLE
    lock = (ROOT / "locks/run.txt").read_text()
    assert f"xllamacpp=={engine.version} " in lock, "the locked build is the one that is tested"


@pytest.mark.parametrize(
    ("build", "floor", "allowed", "code"),
    [
        (FLOOR, FLOOR, (), None),
        (FLOOR + 1, FLOOR, (), None),
        (FLOOR - 1, FLOOR, (), "engine_too_old"),
        (FLOOR, FLOOR + 1, (), "engine_too_old"),
        (None, FLOOR, (), "engine_build_unknown"),
        (FLOOR - 1, FLOOR, ("lab",), None),
        (None, FLOOR, ("lab",), None),
        (None, FLOOR, ("other",), "engine_build_unknown"),
    ],
)
def test_who_may_compute(build: int | None, floor: int, allowed: tuple[str, ...], code: str | None) -> None:
    try:
        require_build("lab", build, floor, allowed)
    except Refused as refused:
        assert refused.code == code
        assert "sandbox.older_engines" in refused.hint
        if code == "engine_too_old" and build == FLOOR - 1:
            assert "CVE-" in refused.message
    else:
        assert code is None


def test_the_floor_is_the_newest_fix_of_what_could_be_reached() -> None:
    assert {each.build for each in FLAWS if each.build > FLOOR} <= {e.build for e in FLAWS if e.cve in NOT_REACHABLE}
    assert len({each.cve for each in FLAWS}) == len(FLAWS)
    assert {each.cve for each in FLAWS} >= NOT_REACHABLE


def test_the_page_lists_them() -> None:
    page = (ROOT / "docs/engine.md").read_text()
    rows = [f"| [{f.cve}]({f.source}) | b{f.build} | {f.where} |" for f in FLAWS]
    shown = [line for line in page.splitlines() if line.startswith("| [CVE-")]
    assert shown == rows, "docs/engine.md shows others; it should be:\n" + "\n".join(rows)
    assert re.search(rf"b{FLOOR}\b", page)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with one native module, and its record."""
    native = tmp_path / "tinyengine" / "tinyengine.abi3.so"
    native.parent.mkdir()
    native.write_bytes(b"\x7fELF as it was installed")
    digest = base64.urlsafe_b64encode(hashlib.sha256(native.read_bytes()).digest()).rstrip(b"=").decode()
    about = tmp_path / "tinyengine-2026.10.11549.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tinyengine\nVersion: 2026.10.11549\n")
    (about / "RECORD").write_text(f"tinyengine/tinyengine.abi3.so,sha256={digest},24\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield native


def test_a_native_module_that_was_changed_is_not_started(package: Path) -> None:
    before = examined("tinyengine")
    assert (before.build, before.intact) == (11549, True)
    package.write_bytes(b"\x7fELF as somebody else would have it")
    after = examined("tinyengine")
    assert after.digest != before.digest
    with pytest.raises(Untrusted) as changed:
        require_intact(after)
    assert changed.value.code == "engine_changed"
    assert standing_of(after, FLOOR, ("embedded",)).refused == "engine_changed", "no downgrade allows that"


async def test_an_older_embedded_engine_is_not_started(tmp_path: Path) -> None:
    def refuse() -> None:
        require_build("embedded", FLOOR - 1, FLOOR, ())

    spawner = SandboxedSpawner(tmp_path, "full", await probe(), require_engine=refuse)
    with pytest.raises(Refused) as refused:
        await spawner.start(model(), Compute(1))
    assert refused.value.code == "engine_too_old"


@pytest.mark.parametrize(
    ("kind", "said", "allowed", "code"),
    [
        ("llama-server", f"b{FLOOR}-0f1a2b3c", (), None),
        ("llama-server", f"b{FLOOR - 1}-0f1a2b3c", (), "engine_too_old"),
        ("llama-server", "b0-unknown", (), "engine_build_unknown"),
        ("llama-server", None, (), "engine_build_unknown"),
        ("llama-server", None, ("elsewhere",), None),
        ("vllm", None, (), None),
    ],
)
async def test_a_llama_server_says_its_build_or_is_not_asked(
    kind: str, said: str | None, allowed: tuple[str, ...], code: str | None
) -> None:
    engine = Elsewhere(build_info=said)
    async with serving(engine) as server:
        about = remote(server.url, kind, theirs="theirs")  # type: ignore[arg-type]
        allowed = (about.engine.name,) if allowed else ()
        require = partial(_require, allowed)
        link = Link(about.engine, SystemClock(), direct, require=require)
        if code is None:
            await link.check(about)
        else:
            with pytest.raises(Refused) as refused:
                await link.check(about)
            assert refused.value.code == code
            assert link.breaker.phase == "closed", "it does not fail; it is not wanted"
    assert ("/props" in {each.path for each in engine.seen}) == (kind == "llama-server")


def _require(allowed: tuple[str, ...], name: str, build: int | None) -> None:
    require_build(name, build, FLOOR, allowed)


def test_an_engine_without_a_build_has_no_list_of_flaws() -> None:
    unknown = Engine("0.2", None, "sha256:0", True)
    assert unknown.open_flaws() == ()
    assert standing_of(unknown, FLOOR, ()).refused == "engine_build_unknown"
