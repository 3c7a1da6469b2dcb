"""The rules, argon2id, and the bounded line before it."""

import asyncio

import pytest
from argon2 import PasswordHasher, extract_parameters
from hypothesis import given
from hypothesis import strategies as st

from intramural.access.common import is_common
from intramural.access.passwords import Cost, Passwords, check_rules
from intramural.core.errors import Misasked, Throttled


@pytest.fixture
def passwords(cheap):
    made = Passwords(1, cost=cheap)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "password_too_short"),
        ("sevench", "password_too_short"),
        ("x1" * 513, "password_too_long"),
        ("lone \ud800 surrogate", "password_not_text"),
        ("Ada.Lovelace", "password_is_username"),
        ("password", "password_too_common"),
        ("P@ssw0rd2024!", "password_too_common"),
        ("12345678", "password_too_common"),
        ("iloveyou", "password_too_common"),
        ("qwertyuiop", "password_too_common"),
        ("1q2w3e4r", "password_too_common"),
        ("aaaaaaaaaaaa", "password_too_common"),
        ("Intramural1", "password_too_common"),
        ("correct horse battery staple", "password_too_common"),
        ("passwordpassword", "password_too_common"),
        ("!!letmein!!", "password_too_common"),
    ],
)
def test_refused(password, code):
    with pytest.raises(Misasked) as caught:
        check_rules(password, "ada.lovelace")
    assert caught.value.code == code
    assert caught.value.param == "password"
    assert caught.value.hint


@pytest.mark.parametrize(
    "password",
    [
        "eightchr",
        "no digits or capitals at all",
        "  leading and trailing  ",
        "пароль на каждый день",
        "🦊🦔🦡🐿🦫🦦🦥🐇",
        "eightchr" * 128,
    ],
)
def test_accepted_whatever_it_is_made_of(password):
    check_rules(password, "ada")


@given(st.text())
def test_no_text_upsets_the_list_of_common_ones(text):
    is_common(text)


async def test_a_hash_is_argon2id_with_the_cost_and_verifies_only_its_password(passwords):
    hashed = await passwords.hash("a sentence nobody guesses", "ada")
    assert hashed.text.startswith("$argon2id$")
    assert hashed.text not in repr(hashed)
    assert await passwords.verify(hashed.text, "a sentence nobody guesses")
    assert not await passwords.verify(hashed.text, "A sentence nobody guesses")
    assert not await passwords.verify(hashed.text, "a sentence nobody guesses ")


def test_the_default_cost_is_at_least_the_floor_of_asvs():
    cost = Cost()
    assert cost.passes >= 1
    assert cost.memory_kib >= 46 * 1024


async def test_an_unknown_name_costs_a_whole_hash_of_the_same_parameters():
    passwords = Passwords(1)
    real = PasswordHasher(time_cost=2, memory_cost=47_104, parallelism=1).hash("something else")
    assert extract_parameters(passwords._nobody) == extract_parameters(real)
    assert not await passwords.verify(None, "a sentence nobody guesses")
    passwords.close()


async def test_what_cannot_be_a_password_is_never_right(passwords):
    hashed = await passwords.hash("a sentence nobody guesses", "ada")
    assert not await passwords.verify(hashed.text, "x" * 2000)
    assert not await passwords.verify(hashed.text, "\ud800")
    assert not await passwords.verify("not a hash", "a sentence nobody guesses")


async def test_the_line_is_bounded_and_those_beyond_it_are_told_when_to_come_back(cheap):
    passwords = Passwords(1, waiting_limit=4, cost=cheap)
    results = await asyncio.gather(*(passwords.verify(None, f"guess {n}") for n in range(20)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Throttled)]
    assert len(refused) == 15
    assert all(error.code == "sign_in_busy" and error.retry_after_s > 0 for error in refused)
    assert await passwords.verify(None, "the line is free again") is False
    passwords.close()


async def test_who_leaves_the_line_gives_the_place_back():
    passwords = Passwords(1, waiting_limit=2, cost=Cost())
    waiting = [asyncio.create_task(passwords.verify(None, f"guess {n}")) for n in range(3)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await passwords.verify(None, "still served") is False
    passwords.close()


async def test_fifty_sign_ins_at_once_leave_the_loop_free():
    """At the real cost. 50 hashes are some 4 s of one core; were they on the loop, it would turn a handful of times."""
    passwords = Passwords(1, waiting_limit=49)
    signing_in = asyncio.gather(*(passwords.verify(None, f"guess {n}") for n in range(50)))
    turns = 0
    while not signing_in.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert await signing_in == [False] * 50
    assert turns > 100
    passwords.close()
