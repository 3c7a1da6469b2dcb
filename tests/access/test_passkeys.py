"""Passkeys made and shown by a software authenticator, and every way in which its answer can be wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes.authenticator import Authenticator

from intramural.access.passkeys import MAX_PASSKEYS, PasskeyRefused
from intramural.core.errors import Conflicting, IntramuralError, Misasked, Missing

HERE = "https://ai.school.example"


async def made(access, db, person, device, **changes):
    asked = await access.passkeys.begin_adding(person, HERE)
    credential = device.create(dict(asked.options), **changes)
    async with db.writing() as connection:
        return await access.passkeys.add(connection, person, asked.ticket, credential, "a key", HERE)


async def shown(access, db, device, origin=HERE, ticket=None, change=lambda credential: credential, **changes):
    asked = await access.passkeys.begin_sign_in(HERE)
    credential = change(device.get(dict(asked.options), **changes))
    async with db.writing() as connection:
        return await access.passkeys.shown(connection, ticket or asked.ticket, credential, origin)


async def why(act) -> str:
    with pytest.raises(PasskeyRefused) as caught:
        await act
    assert caught.value.code == "passkey_refused"
    return caught.value.why


async def test_a_passkey_is_made_and_says_whose_it_is(access, db, join, clock):
    ada, device = await join("ada"), Authenticator(HERE)
    passkey = await made(access, db, ada, device)
    assert (passkey.person_id, passkey.host, passkey.last_used_ms) == (ada.id, "ai.school.example", None)
    clock.at_s += 60
    assert await shown(access, db, device) == ada.id
    [after] = await access.passkeys.of(ada.id)
    assert after.last_used_ms == int(clock.at_s * 1000)
    assert (await access.factors.held_now(ada.id)).passkeys == 1


async def test_an_authenticator_that_does_not_count_is_as_good(access, db, join):
    ada, device = await join("ada"), Authenticator(HERE, counts=False)
    await made(access, db, ada, device)
    for _ in range(3):
        assert await shown(access, db, device) == ada.id


def with_response(name: str, value: Any) -> Callable[[dict], dict]:
    return lambda credential: {**credential, "response": {**credential["response"], name: value}}


async def test_answers_that_are_wrong_open_nothing(access, db, join):
    ada, bob = await join("ada"), await join("bob")
    device, other = Authenticator(HERE), Authenticator(HERE)
    await made(access, db, ada, device)
    await made(access, db, bob, other)
    stranger = ec.generate_private_key(ec.SECP256R1())
    found = {
        "another key": await why(shown(access, db, device, key=stranger)),
        "another person's handle": await why(shown(access, db, device, handle=bob.id.encode())),
        "no handle": await why(shown(access, db, device, handle=b"")),
        "nobody's": await why(shown(access, db, device, change=lambda c: {**c, "id": "AAAA", "rawId": "AAAA"})),
        "id and rawId differ": await why(shown(access, db, device, change=lambda c: {**c, "id": "AAAA"})),
        "not verified": await why(shown(access, db, replace(device, verifies=False))),
        "not present": await why(shown(access, db, replace(device, present=False))),
        "another site": await why(shown(access, db, replace(device, origin="https://evil.example"))),
        "http": await why(shown(access, db, replace(device, origin="http://ai.school.example"))),
        "within another site": await why(shown(access, db, replace(device, crossed=True))),
        "under another name of ours": await why(shown(access, db, device, origin="https://other.school.example")),
        "counts backwards": await why(shown(access, db, replace(device, count=0))),
        "signature missing": await why(shown(access, db, device, change=with_response("signature", None))),
        "signature of nothing": await why(shown(access, db, device, change=with_response("signature", ""))),
        "data of nothing": await why(shown(access, db, device, change=with_response("authenticatorData", "AA"))),
        "not JSON": await why(shown(access, db, device, change=with_response("clientDataJSON", "AAAA"))),
        "no response": await why(shown(access, db, device, change=lambda c: {**c, "response": None})),
        "half a megabyte": await why(shown(access, db, device, change=with_response("x", "x" * 500_000))),
        "no ticket": await why(shown(access, db, device, ticket="x")),
    }
    assert found == {
        "another key": "verification", "another person's handle": "person", "no handle": "person",
        "nobody's": "unknown", "id and rawId differ": "verification", "not verified": "verification",
        "not present": "verification", "another site": "verification", "http": "verification",
        "within another site": "cross_origin", "under another name of ours": "unknown",
        "counts backwards": "verification", "signature missing": "verification",
        "signature of nothing": "verification", "data of nothing": "verification", "not JSON": "form",
        "no response": "form", "half a megabyte": "form", "no ticket": "challenge",
    }  # fmt: skip
    assert await shown(access, db, device) == ada.id


async def test_an_answer_counts_once_and_soon(access, db, join, clock):
    ada, device = await join("ada"), Authenticator(HERE, counts=False)
    await made(access, db, ada, device)
    asked = await access.passkeys.begin_sign_in(HERE)
    credential = device.get(dict(asked.options))
    async with db.writing() as connection:
        await access.passkeys.shown(connection, asked.ticket, credential, HERE)
        assert await why(access.passkeys.shown(connection, asked.ticket, credential, HERE)) == "challenge"
    late = await access.passkeys.begin_sign_in(HERE)
    credential = device.get(dict(late.options))
    clock.at_s += 301
    async with db.writing() as connection:
        assert await why(access.passkeys.shown(connection, late.ticket, credential, HERE)) == "challenge"
    one, two = await access.passkeys.begin_sign_in(HERE), await access.passkeys.begin_sign_in(HERE)
    credential = device.get(dict(one.options))
    async with db.writing() as connection:  # another challenge's ticket
        assert await why(access.passkeys.shown(connection, two.ticket, credential, HERE)) == "verification"


async def test_what_is_not_to_be_kept(access, db, join):
    ada, bob = await join("ada"), await join("bob")
    refused = [
        await why(made(access, db, ada, Authenticator("https://evil.example"))),
        await why(made(access, db, ada, Authenticator(HERE, verifies=False))),
        await why(made(access, db, ada, Authenticator(HERE), rp_id="evil.example")),
        await why(made(access, db, ada, Authenticator(HERE), statement={"sig": b"x"})),
        await why(made(access, db, ada, Authenticator(HERE), fmt="packed", statement={"alg": -7, "sig": b"x"})),
        await why(made(access, db, ada, Authenticator(HERE), fmt="android-safetynet")),
        await why(made(access, db, ada, Authenticator(HERE), fmt=7)),
    ]
    assert refused == ["verification"] * 5 + ["format"] * 2
    asked = await access.passkeys.begin_adding(ada, HERE)
    credential = Authenticator(HERE).create(dict(asked.options))
    async with db.writing() as connection:
        for person, name in ((bob, "a key"), (ada, ""), (ada, "a\u202eb"), (ada, "x" * 61)):  # bob: not for him
            with pytest.raises((PasskeyRefused, Misasked)):
                await access.passkeys.add(connection, person, asked.ticket, credential, name, HERE)
        assert await access.passkeys.add(connection, ada, asked.ticket, credential, "a key", HERE)
    again = await access.passkeys.begin_adding(bob, HERE)
    async with db.writing() as connection:
        with pytest.raises(IntramuralError):  # the answer to another question
            await access.passkeys.add(connection, bob, again.ticket, credential, "a key", HERE)
    assert [each.name for each in await access.passkeys.of(ada.id)] == ["a key"]
    assert await access.passkeys.of(bob.id) == []


async def test_only_its_person_takes_it_away(access, db, join):
    ada, bob, device = await join("ada"), await join("bob"), Authenticator(HERE)
    passkey = await made(access, db, ada, device)
    async with db.writing() as connection:
        with pytest.raises(Missing):
            await access.passkeys.remove(connection, bob.id, passkey.id)
    assert await shown(access, db, device) == ada.id
    async with db.writing() as connection:
        await access.passkeys.remove(connection, ada.id, passkey.id)
    assert await why(shown(access, db, device)) == "unknown"


async def test_a_device_that_has_one_is_told_and_there_is_an_end(access, db, join):
    ada, device = await join("ada"), Authenticator(HERE)
    for _ in range(MAX_PASSKEYS):
        await made(access, db, ada, device)
    with pytest.raises(Conflicting):
        await access.passkeys.begin_adding(ada, HERE)
    asked = await access.passkeys.begin_adding(await join("bob"), HERE)
    assert asked.options["excludeCredentials"] == []
    for origin in ("http://127.0.0.1:8080", "https://[::1]"):
        with pytest.raises(Misasked) as caught:
            await access.passkeys.begin_sign_in(origin)
        assert caught.value.code == "passkeys_need_a_name"
