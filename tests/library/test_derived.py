"""A model under another name, with words and numbers of its own: the same bytes, and what requests leave open."""

import msgspec
import pytest
from tests.fakes.gguf_file import tiny_model
from tests.fakes.source import LyingSource
from tests.library.shop import Shop

from intramural.core.chat import ChatRequest, Message, Sampling
from intramural.core.errors import IntramuralError
from intramural.library import Defaults, Said, applied, merged

PIRATE = Defaults(system="You are a pirate.", temperature=0.2, stop=("Arr",))


def request(*messages: Message, **sampling: object) -> ChatRequest:
    return ChatRequest("req_1", "m", messages=messages, sampling=Sampling(**sampling))  # type: ignore[arg-type]


def test_what_a_request_says_goes_first() -> None:
    hi = Message("user", "hi")
    asked = applied(request(hi, temperature=0.9), PIRATE)
    assert (asked.sampling.temperature, asked.sampling.stop) == (0.9, ("Arr",))
    assert asked.messages == (Message("system", "You are a pirate."), hi)
    own = applied(request(Message("system", "Be brief."), hi), PIRATE)
    assert own.messages == (Message("system", "Be brief."), hi)
    assert applied(request(hi), None) == request(hi)
    assert applied(request(hi, temperature=0.0), PIRATE).sampling.temperature == 0.0, "0 is an answer"


def test_first_messages_stand_between_the_system_text_and_the_conversation() -> None:
    shown = Defaults(messages=(Said("user", "2+2"), Said("assistant", "4")))
    asked = applied(request(Message("system", "Count."), Message("user", "3+3")), shown)
    assert [(m.role, m.content) for m in asked.messages] == [
        ("system", "Count."),
        ("user", "2+2"),
        ("assistant", "4"),
        ("user", "3+3"),
    ]


def test_a_raw_prompt_stays_as_it_is() -> None:
    raw = ChatRequest("req_1", "m", prompt="The sea is")
    asked = applied(raw, PIRATE)
    assert (asked.prompt, asked.messages, asked.sampling.temperature) == ("The sea is", (), 0.2)


def test_merging_keeps_what_is_not_given_anew() -> None:
    both = merged(PIRATE, Defaults(temperature=0.5))
    assert both == Defaults(system="You are a pirate.", temperature=0.5, stop=("Arr",))
    assert merged(None, Defaults()) is None


async def test_a_derived_model_shares_its_bytes(shop: Shop) -> None:
    base, _ = await shop.pull(LyingSource(tiny_model()), "tiny")
    made = shop.library.derived("tiny:latest", "pirate", PIRATE)
    shop.library.put_derived(made, "tiny")
    found = shop.library.get("pirate")
    assert (found.files, found.digest, found.base, found.defaults) == (base.files, base.digest, "tiny", PIRATE)
    again = shop.library.derived("pirate", "captain", found.defaults)
    assert again.base == "tiny", "of a derived model's own derivation the first is the base"
    assert shop.library.derived("pirate", "pirate", None).base == "tiny"
    shop.library.remove("tiny")
    await shop.library.verify(shop.library.get("pirate"))
    assert shop.library.remove("pirate") == base.size_bytes
    shop.check_invariant()


async def test_a_name_of_other_files_is_not_taken_over(shop: Shop) -> None:
    await shop.pull(LyingSource(tiny_model()), "tiny")
    await shop.pull(LyingSource(tiny_model(seed=2)), "other")
    with pytest.raises(IntramuralError) as caught:
        shop.library.derived("tiny", "other", None)
    assert caught.value.code == "model_name_taken"


def test_manifests_of_before_can_still_be_read() -> None:
    assert msgspec.json.decode(b"{}", type=Defaults) == Defaults()
    assert msgspec.json.encode(Defaults(temperature=0.5)) == b'{"temperature":0.5}'
