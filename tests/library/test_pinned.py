"""A model of the catalogue is exactly what the catalogue says, or nothing is fetched."""

import hashlib

import pytest
from tests.fakes.gguf_file import tiny_model
from tests.fakes.source import LyingSource
from tests.library.shop import Shop

from intramural.core.errors import Untrusted
from intramural.library import load_catalogue
from intramural.library.catalogue import Variant
from intramural.library.catalogue.entries import CatalogueFile
from intramural.library.sources.pinned import PinnedSource

BODY = tiny_model(extra_bytes=4096)
OTHER = tiny_model(seed=1, extra_bytes=4096)


def variant(*files: CatalogueFile) -> Variant:
    return Variant(id="q4", quantisation="Q4", format="gguf", source="fake:tiny", servable=True, files=files)


def weights(body: bytes | None) -> CatalogueFile:
    return CatalogueFile("tiny.gguf", "weights", hashlib.sha256(body).hexdigest() if body is not None else None)


async def test_what_the_catalogue_says_is_pinned(shop: Shop) -> None:
    manifest, _ = await shop.pull(PinnedSource(LyingSource(BODY), variant(weights(BODY))))
    assert manifest.trust == "pinned"


async def test_anything_else_is_refused_before_it_is_fetched(shop: Shop) -> None:
    source = LyingSource(OTHER)
    with pytest.raises(Untrusted) as refused:
        await shop.pull(PinnedSource(source, variant(weights(BODY))))
    assert refused.value.code == "catalogue_mismatch"
    assert source.opened == []


async def test_a_source_that_announces_the_right_digest_must_send_it(shop: Shop) -> None:
    with pytest.raises(Untrusted) as refused:
        await shop.pull(PinnedSource(LyingSource(BODY, flip=100), variant(weights(BODY))))
    assert refused.value.code == "digest_mismatch"


async def test_what_the_catalogue_does_not_know_is_as_the_source_says(shop: Shop) -> None:
    manifest, _ = await shop.pull(PinnedSource(LyingSource(BODY), variant(weights(None))))
    assert manifest.trust == "local"


def test_a_model_is_found_by_its_name_and_by_its_source() -> None:
    catalogue = load_catalogue().catalogue
    for entry in catalogue.entries:
        for each in entry.variants:
            assert catalogue.variant(f"{entry.id}:{each.id}") is each
            assert catalogue.variant(each.source) is not None
    assert catalogue.variant("file:/etc/passwd") is None
