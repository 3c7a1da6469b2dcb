"""Second factors: the codes of an app and on paper, and who is asked for what."""

import asyncio
import itertools

import pytest
from tests import databases

from intramural.access import totp
from intramural.access.factors import Held, Rules, due
from intramural.access.people import Person, Proven
from intramural.core.config import AccessConfig
from intramural.core.errors import Conflicting, Misasked, Missing, Throttled, Unauthenticated

# RFC 6238, appendix B: eight digits, the time in seconds
SECRETS = {"sha1": b"1234567890" * 2, "sha256": (b"1234567890" * 4)[:32], "sha512": (b"1234567890" * 7)[:64]}
VECTORS = [
    (59, "sha1", "94287082"), (59, "sha256", "46119246"), (59, "sha512", "90693936"),
    (1111111109, "sha1", "07081804"), (1111111109, "sha256", "68084774"), (1111111109, "sha512", "25091201"),
    (1111111111, "sha1", "14050471"), (1234567890, "sha1", "89005924"), (1234567890, "sha512", "93441116"),
    (2000000000, "sha1", "69279037"), (20000000000, "sha1", "65353130"), (20000000000, "sha256", "77737706"),
]  # fmt: skip


@pytest.mark.parametrize(("at_s", "digest", "code"), VECTORS)
def test_the_published_codes(at_s: int, digest: str, code: str) -> None:
    assert totp.code_of(SECRETS[digest], totp.step_of(at_s), 8, digest) == code


def test_a_code_fits_its_period_and_the_ones_beside_it_and_never_an_earlier_one() -> None:
    secret, now_s = b"x" * 20, 1_800_000_000
    here = totp.step_of(now_s)
    for away in range(-3, 4):
        found = totp.matching_step(secret, totp.code_of(secret, here + away), now_s, last_step=0)
        assert found == (here + away if abs(away) <= 1 else None)
    assert totp.matching_step(secret, totp.code_of(secret, here), now_s, last_step=here) is None
    for wrong in ("", "00000", "abcdef", "٠٠٠٠٠٠", "0" * 100):
        assert totp.matching_step(secret, wrong, now_s, 0) is None


def test_who_is_asked_for_what() -> None:
    """Every combination, held against the rules in words."""
    whom = ("nobody", "administrators", "everyone")
    for role, codes, keys, strong, passkey, second_for, passkey_for in itertools.product(
        ("administrator", "member"), (None, 1), (0, 1), (False, True), (False, True), whom, whom
    ):
        person = Person("p", "ada", role, 0, None)
        asked = due(
            role,
            Held(codes, 0, keys),
            Proven(person, None, strong=strong, passkey=passkey),
            Rules(second_for, passkey_for),
        )

        def about(rule: str, role: str = role) -> bool:
            return rule == "everyone" or (rule == "administrators" and role == "administrator")

        if passkey:
            assert asked is None  # nothing is stronger
        elif about(passkey_for):
            assert asked is not None  # and nothing else is enough
            if keys:
                assert asked == "passkey"
            else:
                assert asked == ("second" if codes and not strong else "enrol_passkey")
        elif strong:
            assert asked is None
        elif codes or keys:
            assert asked == "second"  # who has a factor is asked for it
        else:
            assert asked == ("enrol" if about(second_for) else None)


def test_a_rule_for_nobody_known() -> None:
    with pytest.raises(Misasked) as caught:
        Rules.of(AccessConfig(passkey_for="admins"))
    assert caught.value.code == "bad_setting"


async def set_up(access, db, person_id, clock):
    async with db.writing() as connection:
        secret = await access.factors.begin_codes(connection, person_id)
    async with db.writing() as connection:
        code = totp.code_of(secret, totp.step_of(clock.now_s()))
        return secret, await access.factors.confirm_codes(connection, person_id, code)


async def show(access, db, person_id, code):
    async with db.writing() as connection:
        return await access.factors.show(connection, person_id, code)


async def test_an_app_counts_once_it_made_a_code(access, db, join, clock):
    ada = await join("ada")
    async with db.writing() as connection:
        secret = await access.factors.begin_codes(connection, ada.id)
    assert (await access.factors.held_now(ada.id)).codes_ms is None
    code = totp.code_of(secret, totp.step_of(clock.now_s()))
    with pytest.raises(Unauthenticated):
        await show(access, db, ada.id, code)
    async with db.writing() as connection:
        paper = await access.factors.confirm_codes(connection, ada.id, code)
    assert len(set(paper)) == 10
    held = await access.factors.held_now(ada.id)
    assert (held.codes_ms is not None, held.recovery) == (True, 10)
    async with db.writing() as connection:
        for again in (access.factors.begin_codes(connection, ada.id),):
            with pytest.raises(Conflicting):
                await again
        with pytest.raises(Missing):
            await access.factors.confirm_codes(connection, ada.id, code)
    data = databases.everything(db.address)  # neither secret nor codes lie there in clear
    assert secret not in data and totp.base32(secret).encode() not in data
    assert not any(each.encode() in data or each.replace("-", "").encode() in data for each in paper)


async def test_a_code_works_once_also_for_two_at_the_same_time(access, db, join, clock):
    ada = await join("ada")
    secret, paper = await set_up(access, db, ada.id, clock)
    used = totp.code_of(secret, totp.step_of(clock.now_s()))
    with pytest.raises(Unauthenticated):  # it confirmed the app
        await show(access, db, ada.id, used)
    clock.at_s += 30
    fresh = totp.code_of(secret, totp.step_of(clock.now_s()))
    results = await asyncio.gather(*(show(access, db, ada.id, fresh) for _ in range(3)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in results) == ["Unauthenticated", "Unauthenticated", "str"]
    results = await asyncio.gather(*(show(access, db, ada.id, paper[0]) for _ in range(2)), return_exceptions=True)
    assert "recovery" in results and sum(isinstance(each, Unauthenticated) for each in results) == 1
    assert (await access.factors.held_now(ada.id)).recovery == 9


async def test_paper_may_be_typed_carelessly_and_is_one_persons(access, db, join, clock):
    ada, bob = await join("ada"), await join("bob")
    _, paper = await set_up(access, db, ada.id, clock)
    await set_up(access, db, bob.id, clock)
    with pytest.raises(Unauthenticated):
        await show(access, db, bob.id, paper[1])
    typed = paper[1].upper().replace("0", "O").replace("1", "l").replace("-", " ")
    assert await show(access, db, ada.id, f" {typed} ") == "recovery"
    async with db.writing() as connection:
        await access.factors.new_recovery_codes(connection, ada.id)
    with pytest.raises(Unauthenticated):
        await show(access, db, ada.id, paper[2])


async def test_guessing_codes_is_throttled_also_for_the_right_one(access, db, join, clock):
    ada = await join("ada")
    secret, paper = await set_up(access, db, ada.id, clock)
    clock.at_s += 30
    for wrong in ("000000", "1", "zzzzz-zzzzz", "", "999999"):
        with pytest.raises(Unauthenticated):
            await show(access, db, ada.id, wrong)
    for right in (totp.code_of(secret, totp.step_of(clock.now_s())), paper[0]):
        with pytest.raises(Throttled) as caught:
            await show(access, db, ada.id, right)
    clock.at_s += caught.value.retry_after_s
    assert await show(access, db, ada.id, paper[0]) == "recovery"


async def test_what_is_taken_away_is_asked_for_no_more(access, db, join, clock):
    ada = await join("ada")
    _, paper = await set_up(access, db, ada.id, clock)
    async with db.writing() as connection:
        await access.factors.remove_codes(connection, ada.id)
        await access.factors.drop_idle_paper(connection, ada.id)
        assert await access.factors.held(connection, ada.id) == Held(None, 0, 0)
        with pytest.raises(Conflicting):
            await access.factors.new_recovery_codes(connection, ada.id)
    with pytest.raises(Unauthenticated):
        await show(access, db, ada.id, paper[0])


async def test_a_session_that_awaits_something_opens_nothing_and_ends_soon(access, db, join, clock):
    await join("ada")
    proven = await access.people.authenticate("ada", "a sentence nobody guesses", "10.0.0.1")
    async with db.writing() as connection:
        token, session = await access.sessions.open(connection, proven, "a browser", awaits="second")
    with pytest.raises(Unauthenticated) as caught:
        await access.identify.by_session(token)
    assert caught.value.code == "more_needed"
    assert (await access.identify.by_session(token, awaiting=True))[1].awaits == "second"
    assert session.ends_ms - session.created_ms == 900_000
    clock.at_s += 901
    with pytest.raises(Unauthenticated) as caught:
        await access.identify.by_session(token, awaiting=True)
    assert caught.value.code == "session_ended"
