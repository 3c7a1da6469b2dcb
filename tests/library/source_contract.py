"""What every source of models must do, whatever it is. `test_source_contract.py` has them all; add yours to it."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol, get_args

import pytest
from tests.fakes.source import blob_of, flipped
from tests.library.shop import Shop

from intramural.core.errors import IntramuralError, Missing
from intramural.library import ModelFile, Offer, Source, Trust, parse_name
from intramural.library.sources.sets import plain_name

#: A source must hand out no larger pieces: each is held in memory.
MAX_CHUNK_BYTES = 1 << 20


class Counterpart(Protocol):
    """The other side of a source, in a test: a folder, a server. It has one model of one file, honestly."""

    body: bytes

    def source(self) -> Source:
        """A new source that names the model."""
        ...

    def nothing(self) -> Source:
        """A new source that names what is not there."""
        ...

    def send(self, body: bytes) -> None:
        """Have these bytes in the model's place from now on, and say nothing else about it than before."""
        ...


class _Then:
    """A source that lets something happen between saying what it has and handing it over."""

    def __init__(self, source: Source, happens: Callable[[], None]) -> None:
        self._source, self._happens = source, happens

    async def resolve(self) -> Sequence[Offer]:
        offers = await self._source.resolve()
        self._happens()
        return offers

    def open(self, offer: Offer, file: ModelFile, offset: int) -> AsyncGenerator[bytes, None]:
        return self._source.open(offer, file, offset)


class SourceContract:
    """Inherit, and give it a `there` fixture that yields a Counterpart."""

    async def test_it_offers_exact_files(self, there: Counterpart) -> None:
        (offer,) = await there.source().resolve()
        (file,) = offer.files
        assert (file.role, file.blob) == ("weights", blob_of(there.body))
        assert plain_name(file.name) == file.name
        assert parse_name(offer.name) == offer.name
        assert offer.source.partition(":")[1] and offer.licence
        assert offer.trust in get_args(Trust) and offer.trust != "signed", "only the library says that"

    async def test_it_says_the_same_twice(self, there: Counterpart) -> None:
        source = there.source()
        assert await source.resolve() == await source.resolve() == await there.source().resolve()

    async def test_it_hands_over_what_it_offers_from_any_byte_on(self, there: Counterpart) -> None:
        source = there.source()
        (offer,) = await source.resolve()
        size = len(there.body)
        for offset in (0, 1, size // 2, size - 1, size):
            async with aclosing(source.open(offer, offer.files[0], offset)) as chunks:
                got = [chunk async for chunk in chunks]
            assert b"".join(got) == there.body[offset:]
            assert all(0 < len(chunk) <= MAX_CHUNK_BYTES for chunk in got)

    async def test_it_lets_go_when_closed_in_the_middle(self, there: Counterpart) -> None:
        source = there.source()
        (offer,) = await source.resolve()
        before = _held()
        chunks = source.open(offer, offer.files[0], 0)
        assert await anext(chunks)
        await chunks.aclose()
        for _ in range(1000):  # the other side, in this process too, takes its turn to notice
            if _held() <= before:
                break
            await asyncio.sleep(0.001)
        assert _held() <= before

    async def test_what_is_not_there_is_missing_and_it_says_what_to_do(self, there: Counterpart, shop: Shop) -> None:
        with pytest.raises(Missing) as missing:
            await shop.pull(there.nothing())
        assert missing.value.hint
        assert shop.incoming() == shop.shelved() == []

    async def test_its_model_is_shelved_and_known(self, there: Counterpart, shop: Shop) -> None:
        (offer,) = await there.source().resolve()
        manifest, states = await shop.pull(there.source())
        assert (manifest.weights, manifest.source, manifest.trust) == (offer.files[0].blob, offer.source, offer.trust)
        assert manifest.revision == offer.revision
        assert states[-1].step == "shelved"
        await shop.pull(there.source())
        assert len(shop.shelved()) == 1
        shop.check_invariant()

    async def test_a_cancelled_pull_is_gone_on_with(self, there: Counterpart, shop: Shop) -> None:
        part = shop.root / "incoming" / f"{blob_of(there.body).digest[7:]}.part"
        part.write_bytes(there.body[: len(there.body) // 3])
        _, states = await shop.pull(_Then(there.source(), lambda: None))
        fetched = [state.done_bytes for state in states if state.step == "fetching"]
        assert len(there.body) // 3 in fetched and max(fetched) == len(there.body)
        shop.check_invariant()

    @pytest.mark.parametrize(
        "lie",
        [
            pytest.param(lambda body: flipped(body, len(body) // 2), id="a byte turned over"),
            pytest.param(lambda body: body + bytes(64), id="more than announced"),
            pytest.param(lambda body: body[:-64], id="less than announced"),
            pytest.param(lambda body: b"", id="nothing at all"),
        ],
    )
    async def test_no_lie_reaches_the_shelf(
        self, there: Counterpart, shop: Shop, lie: Callable[[bytes], bytes]
    ) -> None:
        with pytest.raises(IntramuralError) as refused:
            await shop.pull(_Then(there.source(), lambda: there.send(lie(there.body))))
        assert refused.value.message and refused.value.hint
        assert shop.shelved() == shop.library.list() == []
        assert all(file.stat().st_size <= len(there.body) for file in shop.incoming())

    async def test_after_a_lie_the_truth_is_taken(self, there: Counterpart, shop: Shop) -> None:
        with pytest.raises(IntramuralError):
            await shop.pull(_Then(there.source(), lambda: there.send(flipped(there.body, 100))))
        there.send(there.body)
        await shop.pull(there.source())
        shop.check_invariant()


def _held() -> int:
    """Descriptors that this process has open."""
    return len(os.listdir("/proc/self/fd"))
