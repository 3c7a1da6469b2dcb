"""A model with a suspicious template is kept, never loaded, and released by a person with a reason."""

import pytest
from tests.fakes.gguf_file import GgufFile, Key
from tests.fakes.source import LyingSource
from tests.library.shop import Shop

from intramural.core.errors import Conflicting, Misasked, Missing, Refused
from intramural.library import Manifest
from intramural.library.blobs import close_all

RECURSIVE = "{% macro a(x) %}{% if x %}{{ a(x.y) }}{% endif %}{% endmacro %}{{ a(messages) }}"
SUSPICIOUS = GgufFile().set(Key("tokenizer.chat_template", 8, RECURSIVE)).build()


async def pulled(shop: Shop) -> Manifest:
    manifest, _ = await shop.pull(LyingSource(SUSPICIOUS))
    return manifest


async def test_it_is_shelved_but_not_opened(shop: Shop) -> None:
    manifest = await pulled(shop)
    assert manifest.is_quarantined
    (finding,) = manifest.quarantine
    assert (finding.code, finding.line, finding.severity) == ("template_recursion", 1, "quarantined")
    assert shop.library.list() == [manifest]
    with pytest.raises(Refused) as refused:
        await shop.library.open_verified(manifest)
    assert refused.value.code == "model_quarantined"
    assert finding.message in refused.value.message
    assert "intramural release tiny" in refused.value.hint
    await shop.library.verify(manifest)
    shop.check_invariant()


async def test_it_is_opened_once_released(shop: Shop) -> None:
    before = await pulled(shop)
    released = shop.library.release("tiny", "  read it,\n it only walks a schema ", "ada")
    assert released.released is not None
    assert (released.released.by, released.released.reason) == ("ada", "read it, it only walks a schema")
    assert released.quarantine == before.quarantine
    assert Shop(shop.root).library.get("tiny") == released
    close_all(await shop.library.open_verified(released))
    again, _ = await shop.pull(LyingSource(SUSPICIOUS))
    assert again.released == released.released


async def test_a_release_is_for_one_finding_of_one_model(shop: Shop) -> None:
    await pulled(shop)
    shop.library.release("tiny", "read it", "ada")
    shop.library.remove("tiny")
    again = await pulled(shop)
    assert again.is_quarantined


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 501])
async def test_a_release_needs_a_reason(shop: Shop, reason: str) -> None:
    await pulled(shop)
    with pytest.raises(Misasked) as misasked:
        shop.library.release("tiny", reason, "ada")
    assert misasked.value.code == "release_without_reason"
    assert shop.library.get("tiny").is_quarantined


async def test_only_what_is_quarantined_is_released(shop: Shop) -> None:
    with pytest.raises(Missing):
        shop.library.release("tiny", "why not", "ada")
    await shop.pull(LyingSource(GgufFile().build()))
    with pytest.raises(Conflicting) as conflict:
        shop.library.release("tiny", "why not", "ada")
    assert conflict.value.code == "model_not_quarantined"
