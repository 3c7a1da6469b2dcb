"""What the first bytes of a picture say, and what no picture may do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import pictures

from intramural.core.errors import Misasked, TooLarge
from intramural.core.pictures import MAX_PICTURE_BYTES, MAX_PIXELS, Picture, look_at

REAL = [
    (pictures.png(3, 5), "image/png"),
    (pictures.gif(3, 5), "image/gif"),
    (pictures.jpeg(3, 5), "image/jpeg"),
    *[(pictures.webp(kind, 3, 5), "image/webp") for kind in (b"VP8 ", b"VP8L", b"VP8X")],
]


@pytest.mark.parametrize(("data", "media_type"), REAL)
def test_kind_and_size_are_read(data: bytes, media_type: str) -> None:
    assert look_at(data, "x") == Picture(media_type, 3, 5)


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", pictures.png(0, 5), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"BM" + bytes(60)],
)
def test_what_is_none_of_the_four_is_refused(data: bytes) -> None:
    with pytest.raises(Misasked) as refused:
        look_at(data, "there")
    assert (refused.value.code, refused.value.param) == ("bad_image", "there")


@pytest.mark.parametrize("data", [pictures.png_that_claims(100_000, 100_000), pictures.jpeg(65_000, 65_000)])
def test_a_picture_that_unpacks_to_gigabytes_is_refused(data: bytes) -> None:
    with pytest.raises(TooLarge):
        look_at(data, "x")


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(TooLarge):
        look_at(pictures.png() + bytes(MAX_PICTURE_BYTES), "x")


@given(st.sampled_from(REAL), st.integers(0, 60), st.binary(max_size=12))
def test_any_bytes_get_an_answer(real: tuple[bytes, str], cut: int, then: bytes) -> None:
    try:
        found = look_at(real[0][:cut] + then, "x")
    except Misasked:
        return
    assert 0 < found.width * found.height <= MAX_PIXELS
