"""Pictures: what is refused before an engine sees it, and one that travels to a confined engine."""

import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.spawner import PlainSpawner
from tests.families.families import llama
from tests.families.seeing import PICTURE_TOKENS, write_projector
from tests.families.tiny import Size, write
from tests.serving.pools import MiB, model, request, running

from intramural.core.chat import ChatRequest, Finished, Image, Message, Tool, ToolCall, Usage
from intramural.core.clock import SystemClock
from intramural.core.config import ServingConfig
from intramural.core.errors import Misasked
from intramural.sandbox import probe
from intramural.serving import ModelToServe, OpenFile, Pool, SandboxedSpawner, ServingPlan
from intramural.serving.images import LIMIT_BYTES, LIMIT_IMAGES, check, data_url
from intramural.serving.tools import plain


def png(width: int, height: int) -> bytes:
    """A whole picture of one colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress((b"\0" + b"\x20\x40\x80" * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"\0" * 10 + b"\xff\xc0" + struct.pack(">HBHH", 17, 8, 30, 40) + b"\0" * 9
GIF = b"GIF89a" + struct.pack("<HH", 40, 30)
WEBP_LOSSY = b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 7 + b"\x9d\x01\x2a" + struct.pack("<HH", 40, 30)
WEBP_LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 39 | 29 << 14) + b"\0" * 9
WEBP_EXTENDED = b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + (39).to_bytes(3, "little") + (29).to_bytes(3, "little")


def shown(*pictures: Image) -> tuple[Message, ...]:
    return (Message("user", "What is this?", parts=("What is this?", *pictures)),)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (png(40, 30), "image/png"),
        (JPEG, "image/jpeg"),
        (GIF, "image/gif"),
        (WEBP_LOSSY, "image/webp"),
        (WEBP_LOSSLESS, "image/webp"),
        (WEBP_EXTENDED, "image/webp"),
    ],
)
def test_the_kinds_that_are_known(data: bytes, kind: str) -> None:
    assert check(shown(Image(data)))
    assert data_url(Image(data)).startswith(f"data:{kind};base64,")


@pytest.mark.parametrize(
    ("pictures", "code"),
    [
        ([Image(file_id="file-1")], "image_not_here"),
        ([Image(url="https://example.com/a.png")], "image_not_here"),
        ([Image(b"BM" + b"\0" * 60)], "image_unknown"),
        ([Image(b"<svg xmlns='http://www.w3.org/2000/svg'/>")], "image_unknown"),
        ([Image(b"\xff\xd8\xff\xda\x00\x02")], "image_unknown"),
        ([Image(png_header(9000, 10))], "image_too_large"),
        ([Image(png_header(0, 10))], "image_too_large"),
        ([Image(png_header(8000, 8000))], "image_too_large"),
        ([Image(png_header(9, 9) + b"\0" * LIMIT_BYTES)], "image_too_large"),
        ([Image(GIF)] * (LIMIT_IMAGES + 1), "too_many_images"),
    ],
)
def test_what_no_engine_is_shown(pictures: list[Image], code: str) -> None:
    with pytest.raises(Misasked) as caught:
        check(shown(*pictures))
    assert (caught.value.code, caught.value.param) == (code, "messages")


@given(st.sampled_from([png(2, 2), JPEG, GIF, WEBP_LOSSY, WEBP_LOSSLESS, WEBP_EXTENDED]), st.data())
def test_no_header_however_broken_is_more_than_refused(data: bytes, draw: st.DataObject) -> None:
    cut = data[: draw.draw(st.integers(1, len(data)))]
    at = draw.draw(st.integers(0, len(cut) - 1))
    broken = cut[:at] + draw.draw(st.binary(max_size=9)) + cut[at:]
    try:
        check(shown(Image(broken or b"x")))
    except Misasked as error:
        assert error.code in ("image_unknown", "image_too_large", "image_not_here")


def test_pictures_keep_their_place_among_turns_with_tools() -> None:
    picture, other = Image(GIF), Image(JPEG)
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
