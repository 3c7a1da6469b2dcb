"""Pictures: what is refused before an engine sees it, and one that travels to a confined engine."""

import os
import struct
import zlib
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.fakes.spawner import PlainSpawner
from tests.families.families import llama
from tests.families.seeing import PICTURE_TOKENS, write_projector
from tests.families.tiny import Size, write
from tests.serving.pools import MiB, model, request, running

from intramural.core.chat import ChatRequest, Finished, Image, Message, Tool, ToolCall, Usage
from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.core.errors import IntramuralError, Misasked
from intramural.sandbox import probe
from intramural.serving import ModelToServe, OpenFile, Pool, SandboxedSpawner, ServingPlan
from intramural.serving.images import LIMIT_IMAGES, check, data_url
from intramural.serving.tools import plain


def png(width: int, height: int) -> bytes:
    """A whole picture of one colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress((b"\0" + b"\x20\x40\x80" * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\0" * 20


GIF = b"GIF89a" + struct.pack("<HH", 40, 30) + b"\0" * 3


def shown(*pictures: Image) -> tuple[Message, ...]:
    return (Message("user", "What is this?", parts=("What is this?", *pictures)),)


def test_a_picture_goes_out_as_what_it_is() -> None:
    assert check(shown(Image(png(40, 30))))
    assert not check(shown())
    assert data_url(Image(png(40, 30))).startswith("data:image/png;base64,iVBOR")


@pytest.mark.parametrize(
    ("pictures", "code"),
    [
        ([Image(file_id="file-1")], "image_not_here"),
        ([Image(url="https://example.com/a.png")], "image_not_here"),
        ([Image(b"BM" + b"\0" * 60)], "bad_image"),
        ([Image(png_header(8000, 8000))], "image_too_large"),
        ([Image(GIF)] * (LIMIT_IMAGES + 1), "too_many_images"),
    ],
)
def test_what_no_engine_is_shown(pictures: list[Image], code: str) -> None:
    with pytest.raises(IntramuralError) as caught:
        check(shown(*pictures))
    assert caught.value.code == code


def test_pictures_keep_their_place_among_turns_with_tools() -> None:
    picture, other = Image(GIF), Image(png(2, 2))
    turned = plain(
        (
            Message("assistant", "", tool_calls=(ToolCall("c", "camera", "{}"),)),
            Message("tool", "done", tool_call_id="c", parts=("done", picture)),
            Message("user", "And?", parts=(other, "And?")),
        )
    )
    assert turned[1] == Message(
        "user",
        "Result of camera:\ndone\n\nAnd?",
        parts=("Result of camera:\n", "done", picture, "\n\n", other, "And?"),
    )


async def test_a_model_that_reads_none_says_so_before_it_waits() -> None:
    spawner = PlainSpawner()
    async with running(spawner) as pool:
        with pytest.raises(Misasked, match="m reads text") as caught:
            pool.chat(model(), replace(request(), messages=shown(Image(GIF))))
        assert caught.value.code == "model_reads_no_images"
        assert spawner.started == []


async def test_a_picture_travels_to_a_confined_engine(tmp_path: Path) -> None:
    size = Size()
    weights = write(tmp_path / "tiny.gguf", "llama", llama, size)
    projector = write_projector(tmp_path / "mmproj.gguf", size.width)

    async def opened() -> list[OpenFile]:
        return [
            OpenFile("weights", os.open(weights, os.O_RDONLY)),
            OpenFile("projector", os.open(projector, os.O_RDONLY)),
        ]

    plan = ServingPlan(1024, 1, 200 * MiB)
    served = ModelToServe("eye", "sha256:eye", opened, plan, pooling=None, reads_images=True)
    posture = await probe()
    spawner = SandboxedSpawner(tmp_path / "run", posture.level, posture)
    pool = Pool(ServingConfig(threads=1), SystemClock(), spawner, 1000 * MiB)
    await pool.start()
    try:

        async def usage(asked: ChatRequest) -> Usage:
            events = [event async for event in pool.chat(served, asked)]
            assert isinstance(events[-2], Finished)
            assert isinstance(events[-1], Usage)
            return events[-1]

        text = replace(request(max_tokens=2), messages=(Message("user", "What is this?"),))
        picture = replace(text, messages=shown(Image(png(40, 30))))
        without, with_it = await usage(text), await usage(picture)
        assert with_it.prompt_tokens >= without.prompt_tokens + PICTURE_TOKENS
        assert await pool.count_tokens(served, picture) == with_it.prompt_tokens
        tool = Tool("look", "Looks again.", {"type": "object", "properties": {}})
        assert await pool.count_tokens(served, replace(picture, tools=(tool,))) > with_it.prompt_tokens
        # A header that promises a picture that does not follow ends the request, not the worker.
        with pytest.raises(Misasked):
            await usage(replace(text, messages=shown(Image(png_header(40, 30)))))
        assert (await usage(text)).prompt_tokens == without.prompt_tokens
    finally:
        await pool.close()
