"""Kept states as files: what is found, what goes, and that nothing but what was kept is ever given out."""

import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.serving.marks import Marks
from intramural.serving.states import CHUNK_BYTES, Home, States

HOME = Home("sha256:m", "setting")
ENGINE = "engine 1"


def key_of(tenant: str) -> bytes:
    return sha256(tenant.encode()).digest()


def marks(text: str) -> Marks:
    """One mark a letter."""
    return tuple(text[: at + 1].encode().ljust(8)[-8:] for at in range(len(text)))


def opened(folder: Path, limit_bytes: int = 2**30, engine: str = ENGINE) -> States:
    states = States(folder, key_of, limit_bytes, engine)
    states.open()
    return states


class Memory:
    """A descriptor with something in it."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("state")

    def put(self, data: bytes) -> int:
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, data, 0)
        return len(data)

    def content(self) -> bytes:
        return os.pread(self.descriptor, 2**26, 0)


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory()
    yield made
    os.close(made.descriptor)


def kept(states: States, memory: Memory, tenant: str, text: str, data: bytes, home: Home = HOME) -> int:
    return states.keep(tenant, home, marks(text), memory.descriptor, memory.put(data))


def brought(states: States, memory: Memory, tenant: str, text: str, home: Home = HOME) -> bytes | None:
    """What comes of asking for the state that begins most like `text`."""
    state = states.longest(tenant, home, marks(text))
    memory.put(b"")
    return memory.content() if state is not None and states.bring(state, memory.descriptor) else None


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_what_was_kept_comes_back_also_after_a_restart(size: int, tmp_path: Path, memory: Memory) -> None:
    data = os.urandom(size)
    states = opened(tmp_path)
    assert kept(states, memory, "ann", "abcdefgh", data) == states.used_bytes > size
    for again in (states, opened(tmp_path)):
        assert brought(again, memory, "ann", "abcdxyz") == data
        assert brought(again, memory, "ann", "xyz") is None
        assert brought(again, memory, "ben", "abcdefgh") is None
        for home in (Home("sha256:m", "other"), Home("sha256:other", "setting")):
            assert brought(again, memory, "ann", "abcdefgh", home) is None


def test_the_longest_beginning_is_found(tmp_path: Path, memory: Memory) -> None:
    states = opened(tmp_path)
    for text in ("abXX", "abcdXX", "abcXX"):
        kept(states, memory, "ann", text, text.encode())
    assert brought(states, memory, "ann", "abcdefgh") == b"abcdXX"
    assert brought(states, memory, "ann", "abZ") in (b"abXX", b"abcXX", b"abcdXX")


def test_what_goes_on_replaces_what_it_goes_on_from(tmp_path: Path, memory: Memory) -> None:
    states = opened(tmp_path)
    for text in ("abcd", "abcdef", "abcdefgh"):
        kept(states, memory, "ann", text, text.encode())
    kept(states, memory, "ann", "abXY", b"a branch")
    kept(states, memory, "ben", "abcdefghij", b"another person")
    assert len(list(tmp_path.glob("*/*"))) == 3
    assert brought(states, memory, "ann", "abcd") == b"abcdefgh"


def test_what_was_used_longest_ago_goes_first(tmp_path: Path, memory: Memory) -> None:
    data = os.urandom(10_000)
    states = opened(tmp_path, limit_bytes=35_000)
    for text in ("aaa", "bbb", "ccc"):
        kept(states, memory, "ann", text, data)
    assert brought(states, memory, "ann", "aaa") == data
    kept(states, memory, "ben", "ddd", data)
    assert states.used_bytes <= 35_000
    assert brought(states, memory, "ann", "bbb") is None
    assert brought(states, memory, "ann", "aaa") == brought(states, memory, "ben", "ddd") == data
    assert kept(states, memory, "ben", "eee", bytes(40_000)) == 0
    assert opened(tmp_path, limit_bytes=12_000).used_bytes <= 12_000
    assert len(list(tmp_path.glob("*/*"))) == 1


@given(st.data())
def test_a_file_that_is_not_as_it_was_gives_nothing_and_goes(data: st.DataObject) -> None:
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"states-{os.getpid()}"  # hypothesis and fixtures do not mix
    memory, states = Memory(), opened(folder)
    try:
        kept(states, memory, "ann", "abcdefgh", bytes(range(256)) * 20)
        (path,) = folder.glob("*/*")
        whole = path.read_bytes()
        if data.draw(st.booleans()):
            path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        else:
            harmed = bytearray(whole)
            harmed[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            path.write_bytes(harmed)
        for again in (states, opened(folder)):
            assert brought(again, memory, "ann", "abcdefgh") is None
        assert list(folder.glob("*/*")) == []
    finally:
        states.forget("ann")
        os.close(memory.descriptor)


def test_chunks_cannot_be_exchanged_or_left_out(tmp_path: Path, memory: Memory) -> None:
    states = opened(tmp_path)
    kept(states, memory, "ann", "abcdefgh", os.urandom(3 * CHUNK_BYTES))
    (path,) = tmp_path.glob("*/*")
    whole, sealed = path.read_bytes(), CHUNK_BYTES + 16
    first, second, third = (whole[len(whole) - n * sealed :][:sealed] for n in (3, 2, 1))
    begin = whole[: -3 * sealed]
    for wrong in (second + first + third, first + third, first + second, first + second + second):
        path.write_bytes(begin + wrong)
        assert brought(opened(tmp_path), memory, "ann", "abcdefgh") is None
        assert not path.exists()


def test_anothers_file_opens_for_nobody(tmp_path: Path, memory: Memory) -> None:
    states = opened(tmp_path)
    kept(states, memory, "ann", "abcdefgh", b"ann's")
    (anns,) = tmp_path.glob("*/*")
    kept(states, memory, "ben", "xyz", b"ben's")
    (bens,) = set(tmp_path.glob("*/*")) - {anns}
    bens.write_bytes(anns.read_bytes())
    states = opened(tmp_path)
    assert brought(states, memory, "ben", "abcdefgh") is None
    assert brought(states, memory, "ann", "abcdefgh") == b"ann's"
    assert not bens.exists()


def test_leftovers_of_other_engines_and_of_a_crash_go_at_the_start(tmp_path: Path, memory: Memory) -> None:
    kept(opened(tmp_path), memory, "ann", "abc", b"data")
    (path,) = tmp_path.glob("*/*")
    (path.parent / "half.part").write_bytes(b"half")
    (path.parent / "none.state").write_bytes(b"nothing of ours")
    assert opened(tmp_path).used_bytes > 0
    assert list(tmp_path.glob("*/*")) == [path]
    assert opened(tmp_path, engine="engine 2").used_bytes == 0
    assert list(tmp_path.glob("*/*")) == []


def test_who_and_what_is_forgotten_stays_forgotten(tmp_path: Path, memory: Memory) -> None:
    states = opened(tmp_path)
    other = Home("sha256:n", "setting")
    for tenant in ("ann", "ben"):
        kept(states, memory, tenant, "abc", b"m")
        kept(states, memory, tenant, "abc", b"n", other)
    states.forget("ann")
    assert kept(states, memory, "ann", "abc", b"m") == 0
    assert len(list(tmp_path.glob("*"))) == 1
    states.forget_model("sha256:m")
    assert kept(states, memory, "ben", "abc", b"m") == 0
    assert brought(states, memory, "ben", "abc") is None
    assert brought(states, memory, "ben", "abc", other) == b"n"
    states.welcome("sha256:m")
    assert kept(states, memory, "ben", "abc", b"m") > 0


def test_a_disk_that_is_full_costs_nothing_but_the_state(tmp_path: Path) -> None:
    """As far as a process may write: it gets the same kind of error."""
    script = f"""
import os, resource, signal, sys
from pathlib import Path
from tests.serving.test_states import Memory, kept, brought, opened
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
states, memory = opened(Path({str(tmp_path)!r})), Memory()
assert kept(states, memory, "ann", "abc", bytes(10_000)) > 0
memory.put(bytes(100_000))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
assert states.keep("ann", {HOME!r}, (b"12345678",), memory.descriptor, 100_000) == 0
assert brought(states, memory, "ann", "abc") == bytes(10_000)
"""
    prelude = "from intramural.serving.states import Home\n"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    subprocess.run([sys.executable, "-c", prelude + script], check=True, env=environment, cwd=root)
    assert len(list(tmp_path.glob("*/*"))) == 1
