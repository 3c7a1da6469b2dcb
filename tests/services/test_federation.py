"""Signing in at a real OpenID provider over TLS: who comes in, as whom, and every way in which a token can lie."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests import databases
from tests.direct import direct
from tests.fakes import web
from tests.fakes.oidc import Idp, Json, b64, ec_key, jwk, pem, rsa_key, sign

from intramural.access import Access
from intramural.access.external import Link
from intramural.access.oidc import Provider
from intramural.access.oidc.flow import Came
from intramural.access.passwords import Cost
from intramural.audit import AuditLog, Event
from intramural.core.actor import SYSTEM
from intramural.core.clock import SystemClock
from intramural.core.config import AccessConfig, AuditConfig
from intramural.core.errors import IntramuralError, Missing, Refused, Unauthenticated
from intramural.core.providers import OidcProvider
from intramural.services.belonging import Belonging
from intramural.services.federation import Federation
from intramural.services.gate import Gate
from intramural.services.people import PeopleDesk
from intramural.services.provider_web import asking
from intramural.services.seating import Seat, Seating

HERE = "https://ai.school.example/intramural/v1/oidc/school/callback"
RS = {"alg": "RS256", "kid": "one"}


class Clock(SystemClock):
    """The system's, moved on by `ahead_s`."""

    ahead_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.ahead_s

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


@dataclass
class House:
    """The rooms that take part, and the provider `idp` with its settings."""

    federation: Federation
    people: PeopleDesk
    access: Access
    audit: AuditLog
    idp: Idp
    settings: OidcProvider
    clock: Clock
    make: Callable[[OidcProvider], Federation]

    def using(self, **changes: Any) -> None:
        """Other settings of the provider, as after a restart."""
        self.settings = replace(self.settings, **changes)
        self.federation = self.make(self.settings)

    async def answer(self, invitation: str = "", **changes: Any) -> Came:
        """What the browser brings back of a sign-in at the provider."""
        going = await self.federation.begin("school", HERE, invitation)
        back = self.idp.authorize(dict(parse_qsl(urlsplit(going.url).query)))
        query = dict(parse_qsl(urlsplit(back).query))
        return replace(Came(going.kept, query["state"], query["code"], query["iss"]), **changes)

    async def sign_in(self, invitation: str = "", **person: Any) -> Seat:
        self.idp.person = person or self.idp.person
        return await self.federation.end("school", await self.answer(invitation), "a browser")

    async def events(self, *wanted: Event) -> list[Any]:
        return [each for each in reversed(await self.audit.entries(limit=500)) if each.event in wanted]

    async def refused(self, came: Came) -> IntramuralError:
        """The error that `came` ends with; it is recorded exactly once and nothing else happens."""
        before = await self.audit.entries(limit=500)
        with pytest.raises(IntramuralError) as caught:
            await self.federation.end("school", came, "a browser")
        fresh = (await self.audit.entries(limit=500))[: -len(before)]
        assert [each.event for each in fresh] == [Event.LOGIN_FAILED]
        assert facts(fresh[0])["code"] == caught.value.code
        return caught.value


def facts(entry: Any) -> Json:
    return dict(entry.facts)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    idp, clock = Idp(), Clock()
    context, trusted = web.certificate(tmp_path, "127.0.0.1")
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(web.serving(idp, tls=context))
        idp.issuer = f"{server.url}/realms/all"
        db = await databases.opened(tmp_path / "intramural.db")
        stack.push_async_callback(db.close)
        audit = await AuditLog.open(db, tmp_path / "secrets", AuditConfig(), clock)
        stack.push_async_callback(audit.close)
        access = await Access.open(db, tmp_path / "secrets", AccessConfig(), clock, cost=Cost(1, 64, 1))
        stack.push_async_callback(access.close)
        gate = Gate(audit)
        belonging = Belonging(access.groups, access.external, access.identities)

        def make(settings: OidcProvider) -> Federation:
            return Federation(
                gate, access.people, access.identities, access.sessions, access.setup,
                Seating(access.sessions, access.factors), belonging, audit, access.oidc,
                [Provider(settings, asking(settings, direct), clock)], clock,
            )  # fmt: skip

        settings = OidcProvider(
            "school", "Springfield Schools", idp.issuer, idp.client_id, idp.client_secret, "anyone", ca_file=trusted
        )
        people = PeopleDesk(gate, access.people, access.groups, access.roles, audit)
        house = House(make(settings), people, access, audit, idp, settings, clock, make)
        await people.create(SYSTEM, "root", "a sentence nobody guesses", "administrator")
        yield house


# Who comes in ---------------------------------------------------------------------------------------------------------


async def test_somebody_new_comes_in_and_is_the_same_person_the_next_time(house: House) -> None:
    seat = await house.sign_in()
    assert (seat.proven.person.username, seat.proven.person.role) == ("ada", "member")
    actor, session = await house.access.identify.by_session(seat.token)
    assert actor.person_id == seat.proven.person.id
    assert (session.method, session.issuer) == ("oidc", house.idp.issuer)
    again = await house.sign_in(sub="s-1", preferred_username="called otherwise now")
    assert again.proven.person.id == seat.proven.person.id
    other = await house.sign_in(sub="s-2", preferred_username="ada")  # the same name is not the same person
    assert other.proven.person.id != seat.proven.person.id
    assert other.proven.person.username.startswith("person-")
    made = await house.events(Event.IDENTITY_TIED, Event.LOGIN_SUCCEEDED)
    assert [each.event for each in made] == [
        Event.IDENTITY_TIED, Event.LOGIN_SUCCEEDED, Event.LOGIN_SUCCEEDED, Event.IDENTITY_TIED, Event.LOGIN_SUCCEEDED,
    ]  # fmt: skip


async def test_a_name_or_an_address_there_never_opens_an_account_here(house: House) -> None:
    root = await house.access.people.named("root")
    mail = "root@school.example"
    seat = await house.sign_in(sub="mallory", preferred_username="root", email=mail, email_verified=True)
    assert seat.proven.person.id != root.id
    assert seat.proven.person.role == "member"


async def test_what_cannot_be_a_name_becomes_none(house: House) -> None:
    for number, name in enumerate(("ada\u202eroot", "a\nb", "x" * 5000, "", None, ["ada"], "\x1b[2J")):
        seat = await house.sign_in(sub=f"s{number}", preferred_username=name)
        assert seat.proven.person.username.startswith("person-")


async def test_who_has_no_password_cannot_sign_in_with_one(house: House) -> None:
    await house.sign_in()
    for password in ("", "!", "a sentence nobody guesses"):
        with pytest.raises(Unauthenticated):
            await house.access.people.authenticate("ada", password, "10.0.0.1")


async def test_only_who_is_invited_comes_in_where_that_is_the_setting(house: House) -> None:
    house.using(join="invited")
    assert (await house.refused(await house.answer())).code == "not_invited"
    bea = await house.people.create(SYSTEM, "bea", None, "auditor")
    made = await house.federation.invite(SYSTEM, bea.id)
    seat = await house.sign_in(made.token, sub="b-1", preferred_username="whatever")
    assert (seat.proven.person.id, seat.proven.person.role) == (bea.id, "auditor")
    assert (await house.refused(await house.answer(made.token))).code == "invitation_invalid"  # it worked once
    assert (await house.sign_in(sub="b-1")).proven.person.id == bea.id
    assert [each.subject for each in await house.federation.identities(SYSTEM, bea.id)] == ["b-1"]


async def test_an_invitation_ends_and_gives_nobody_elses_account_away(house: House) -> None:
    await house.sign_in()  # s-1 is ada
    bea = await house.people.create(SYSTEM, "bea", None, "member")
    made = await house.federation.invite(SYSTEM, bea.id)
    assert (await house.refused(await house.answer(made.token))).code == "identity_taken"
    house.clock.ahead_s = 8 * 86_400
    house.idp.person = {"sub": "late", "iat": house.clock.now_s(), "exp": house.clock.now_s() + 60}
    assert (await house.refused(await house.answer(made.token))).code == "invitation_invalid"


async def test_roles_and_groups_are_those_of_the_claims_each_time(house: House) -> None:
    house.using(
        roles=(("it", "administrator"), ("audit", "auditor")),
        groups=(("7b", "Grade 7 B"),),
        groups_claim="realm.groups",
    )
    seat = await house.sign_in(sub="s", realm={"groups": ["audit", "it", "7b", 5, None]})
    assert seat.proven.person.role == "administrator"
    [identity] = await house.federation.identities(SYSTEM, seat.proven.person.id)
    assert identity.groups == ("Grade 7 B",)
    assert (await house.sign_in(sub="s", realm={"groups": ["audit"]})).proven.person.role == "auditor"
    assert (await house.sign_in(sub="s", realm={})).proven.person.role == "member"
    changed = await house.events(Event.PERSON_CHANGED)
    assert [facts(each)["role"] for each in changed] == ["auditor", "member"]


async def put(house: House, method: Any, *args: Any, **more: Any) -> Any:
    """One changing method of a room."""
    async with house.audit.transaction() as (connection, record):
        record(Event.GROUP_CHANGED, SYSTEM)
        return await method(connection, *args, **more)


async def test_groups_there_give_groups_here_and_take_back_what_they_gave(house: House) -> None:
    groups = house.access.groups
    school = await put(house, groups.create, "School")
    maths = await put(house, groups.create, "7b Maths", school.id)
    choir = await put(house, groups.create, "Choir")
    for _ in range(2):
        await put(house, groups.create, "Twice")
    house.using(
        groups=(("7b", "7b Maths"), ("sing", choir.id), ("x", "Twice"), ("y", "Nowhere")), managers=(("t", "School"),)
    )
    seat = await house.sign_in(sub="s", groups=["7b", "x", "y"])
    mia = seat.proven.person.id
    assert await groups.of(mia) == ((maths.id, school.id), ())
    actor, _ = await house.access.identify.by_session(seat.token)
    assert actor.groups == (maths.id, school.id), "from the first request on"
    await put(house, groups.put, choir.id, mia)  # by hand
    await house.sign_in(sub="s", groups=["7b", "sing"])
    await house.sign_in(sub="s", groups=["t"])
    in_groups, managed = await groups.of(mia)
    assert (set(in_groups), managed) == ({school.id, choir.id}, (school.id,)), "what people here gave stays"
    assert (await house.sign_in(sub="other", groups=[])).proven.person.id != mia
    await house.sign_in(sub="s", groups=[])
    assert await groups.of(mia) == ((choir.id,), ())
    joined = await house.events(Event.GROUP_JOINED, Event.GROUP_LEFT)
    assert [(each.event, each.target.removeprefix("group:")) for each in joined] == [
        (Event.GROUP_JOINED, maths.id),
        (Event.GROUP_JOINED, school.id),
        (Event.GROUP_LEFT, maths.id),
        (Event.GROUP_LEFT, school.id),
    ]
    assert {facts(each)["source"] for each in joined} == {"sign-in:school"}
    with pytest.raises(Refused) as caught:  # too many to tell is not none
        await house.sign_in(sub="s", groups=None, _claim_names={"groups": "src1"})
    assert caught.value.code == "groups_not_told" and await groups.of(mia) == ((choir.id,), ())


async def test_whom_a_list_knows_by_what_the_provider_says_is_that_person(house: House) -> None:
    """Also where only who is invited comes in: to be on the list is that."""
    mia = await house.people.create(SYSTEM, "mia", None, "member")
    bo = await house.people.create(SYSTEM, "bo", None, "member")
    links = [Link("sis", mia.id, "4711", "member", True), Link("sis", bo.id, "0815", "member", True)]
    await put(house, house.access.external.link_all, links)
    house.using(join="invited", external_id_claim="employee_id", external_id_source="sis")
    seat = await house.sign_in(sub="abc", preferred_username="somebody", employee_id="4711")
    assert seat.proven.person.id == mia.id
    [tied] = await house.events(Event.IDENTITY_TIED)
    assert facts(tied)["source"] == "sis"
    # it hangs on issuer and subject from now on, whatever the claim says later
    assert (await house.sign_in(sub="abc", employee_id="0815")).proven.person.id == mia.id
    for claims, code in (
        ({"sub": "thief", "employee_id": "4711"}, "identity_taken"),
        ({"sub": "x", "employee_id": "9999"}, "not_invited"),
        ({"sub": "x", "employee_id": ["0815"]}, "not_invited"),
        ({"sub": "x"}, "not_invited"),
    ):
        with pytest.raises(IntramuralError) as caught:
            await house.sign_in(**claims)
        assert caught.value.code == code, claims
    house.using(external_id_source="another list")
    with pytest.raises(Refused):
        await house.sign_in(sub="y", employee_id="0815")


async def test_a_provider_cannot_leave_the_house_without_an_administrator(house: House) -> None:
    house.using(roles=(("it", "administrator"),))
    seat = await house.sign_in(sub="s", groups=["it"])
    root = await house.access.people.named("root")
    await house.people.change(SYSTEM, root.id, role=None, disabled=True, password=None)
    assert (await house.sign_in(sub="s", groups=[])).proven.person.id == seat.proven.person.id
    assert (await house.access.people.get(seat.proven.person.id)).role == "administrator"


async def test_who_lacks_the_required_group_and_who_has_too_many_to_tell(house: House) -> None:
    house.using(required=("staff",))
    house.idp.person = {"sub": "s", "groups": ["pupils"]}
    assert (await house.refused(await house.answer())).code == "not_admitted"
    house.idp.person = {"sub": "s", "_claim_names": {"groups": "src1"}}
    assert (await house.refused(await house.answer())).code == "groups_not_told"
    await house.sign_in(sub="s", groups=["staff"])


async def test_somebody_disabled_here_stays_out(house: House) -> None:
    seat = await house.sign_in()
    await house.people.change(SYSTEM, seat.proven.person.id, role=None, disabled=True, password=None)
    assert (await house.refused(await house.answer())).code == "disabled_person"


async def test_an_account_that_is_taken_away_ends_its_sessions(house: House) -> None:
    seat = await house.sign_in()
    await house.federation.untie(SYSTEM, seat.proven.person.id, "school")
    with pytest.raises(Unauthenticated):
        await house.access.identify.by_session(seat.token)
    with pytest.raises(Missing):
        await house.federation.untie(SYSTEM, seat.proven.person.id, "school")


async def test_how_strongly_somebody_signed_in_there_is_known(house: House) -> None:
    house.using(strong=("mfa",), phishing_resistant=("phr",))
    for methods, strong, passkey in ((["pwd"], False, False), (["pwd", "mfa"], True, False)):
        seat = await house.sign_in(sub="s", amr=methods)
        assert (seat.proven.strong, seat.proven.passkey) == (strong, passkey)
    seat = await house.sign_in(sub="s", acr="phr")
    assert (seat.proven.strong, seat.proven.passkey) == (True, True)


# Tokens that lie ------------------------------------------------------------------------------------------------------


def now_s() -> int:
    return int(time.time())


def without(claims: Json, name: str) -> Json:
    return {key: value for key, value in claims.items() if key != name}


#: What is wrong → the check that must say so. Each is otherwise what the provider would have sent.
LIES: dict[str, tuple[str, Callable[[Json], str]]] = {
    "no signature, alg none": ("algorithm", lambda c: sign({"alg": "none"}, c, None)),
    "alg None in capitals": ("algorithm", lambda c: sign({"alg": "NONE", "kid": "one"}, c, None)),
    "no alg at all": ("form", lambda c: sign({"kid": "one"}, c, rsa_key("one"))),
    "the signature left out": ("signature", lambda c: sign(RS, c, None)),
    "HS256 with the public key as the secret": (
        "algorithm", lambda c: sign({"alg": "HS256", "kid": "one"}, c, pem(rsa_key("one"))),
    ),
    "HS256 with the client's secret": (
        "algorithm", lambda c: sign({"alg": "HS256"}, c, b"a secret of the client's"),
    ),
    "another key under the same name": ("signature", lambda c: sign(RS, c, rsa_key("other"))),
    "a name of no key": ("key", lambda c: sign({"alg": "RS256", "kid": "zwei"}, c, rsa_key("one"))),
    "a key of another kind": ("key", lambda c: sign({"alg": "ES256", "kid": "one"}, c, ec_key("e"))),
    "an algorithm that is not allowed": (
        "algorithm", lambda c: sign({"alg": "RS512", "kid": "one"}, c, rsa_key("one")),
    ),
    "a key of its own in the header": (
        "header_key", lambda c: sign({"alg": "RS256", "jwk": jwk(rsa_key("other"), "one")}, c, rsa_key("other")),
    ),
    "an address of keys in the header": (
        "header_key", lambda c: sign({**RS, "jku": "https://evil.example/keys"}, c, rsa_key("one")),
    ),
    "unknown crit": ("crit", lambda c: sign({**RS, "crit": ["x"], "x": 1}, c, rsa_key("one"))),
    "crit b64": ("crit", lambda c: sign({**RS, "crit": ["b64"], "b64": False}, c, rsa_key("one"))),
    "another kind of token": ("type", lambda c: sign({**RS, "typ": "at+jwt"}, c, rsa_key("one"))),
    "another issuer": ("issuer", lambda c: sign(RS, {**c, "iss": "https://evil.example"}, rsa_key("one"))),
    "an issuer with a slash more": ("issuer", lambda c: sign(RS, {**c, "iss": c["iss"] + "/"}, rsa_key("one"))),
    "for another client": ("audience", lambda c: sign(RS, {**c, "aud": "another"}, rsa_key("one"))),
    "for nobody": ("audience", lambda c: sign(RS, without(c, "aud"), rsa_key("one"))),
    "for several, of no authorised party": (
        "azp", lambda c: sign(RS, {**c, "aud": [c["aud"], "another"]}, rsa_key("one")),
    ),
    "another authorised party": ("azp", lambda c: sign(RS, {**c, "azp": "another"}, rsa_key("one"))),
    "expired": ("expired", lambda c: sign(RS, {**c, "exp": now_s() - 61}, rsa_key("one"))),
    "without an end": ("exp", lambda c: sign(RS, without(c, "exp"), rsa_key("one"))),
    "an end that is no number": ("exp", lambda c: sign(RS, {**c, "exp": "soon"}, rsa_key("one"))),
    "an end that never comes (NaN)": ("exp", lambda c: sign(RS, {**c, "exp": float("nan")}, rsa_key("one"))),
    "not valid yet": ("nbf", lambda c: sign(RS, {**c, "nbf": now_s() + 120}, rsa_key("one"))),
    "made in the future": ("iat", lambda c: sign(RS, {**c, "iat": now_s() + 120}, rsa_key("one"))),
    "made long ago": ("iat", lambda c: sign(RS, {**c, "iat": now_s() - 86_400}, rsa_key("one"))),
    "no nonce": ("nonce", lambda c: sign(RS, without(c, "nonce"), rsa_key("one"))),
    "another sign-in's nonce": ("nonce", lambda c: sign(RS, {**c, "nonce": "x" * 43}, rsa_key("one"))),
    "about nobody": ("subject", lambda c: sign(RS, without(c, "sub"), rsa_key("one"))),
    "about a number": ("subject", lambda c: sign(RS, {**c, "sub": 7}, rsa_key("one"))),
    "an endless subject": ("subject", lambda c: sign(RS, {**c, "sub": "s" * 256}, rsa_key("one"))),
    "claims that are a list": ("signature", lambda c: sign(RS, b"[]", rsa_key("one"))),
    "claims changed after signing": (
        "signature",
        lambda c: ".".join(
            b64(json.dumps({**c, "sub": "root"}).encode()) if place == 1 else part
            for place, part in enumerate(sign(RS, c, rsa_key("one")).split("."))
        ),
    ),
    "an encrypted token": ("form", lambda c: "a.b.c.d.e"),
    "no token": ("form", lambda c: "what?"),
    "a megabyte": ("form", lambda c: sign(RS, {**c, "x": "x" * 400_000}, rsa_key("one"))[: 400_000]),
}  # fmt: skip


async def test_every_token_that_lies_is_refused_for_its_lie_and_recorded_once(house: House) -> None:
    assert len(LIES) >= 15
    said = {}
    for lie, (_, house.idp.make) in LIES.items():
        error = await house.refused(await house.answer())
        assert isinstance(error, Unauthenticated)
        newest = (await house.events(Event.LOGIN_FAILED))[-1]
        said[lie] = (error.code, facts(newest)["why"])
    assert said == {lie: ("id_token_refused", why) for lie, (why, _) in LIES.items()}
    assert not await house.events(Event.LOGIN_SUCCEEDED, Event.IDENTITY_TIED)
    assert [each.username for each in await house.access.people.list()] == ["root"]


async def test_the_same_token_without_the_lie_is_accepted(house: House) -> None:
    for header in (RS, {"alg": "RS256"}, {"alg": "RS256", "kid": "one", "typ": "jwt", "x5t": "abc"}):
        house.idp.make = lambda claims, header=header: sign(  # type: ignore[misc]  # a default, to bind it now
            header, {**claims, "aud": [claims["aud"], "b"], "azp": claims["aud"]}, rsa_key("one")
        )
        await house.sign_in()


async def test_which_of_two_keys_without_a_name_is_not_guessed(house: House) -> None:
    house.idp.keys = [jwk(rsa_key("one"), "one"), jwk(rsa_key("other"), "two")]
    house.idp.make = lambda claims: sign({"alg": "RS256"}, claims, rsa_key("one"))
    assert (await house.refused(await house.answer())).code == "id_token_refused"


async def test_keys_that_must_not_verify_do_not(house: House) -> None:
    keys: dict[str, list[Any]] = {
        "for encryption": [{**jwk(rsa_key("one"), "one"), "use": "enc"}],
        "for another algorithm": [{**jwk(rsa_key("one"), "one"), "alg": "RS512"}],
        "too short": [jwk(rsa_key("short", 1024), "one")],
        "secret": [{"kty": "oct", "k": b64(b"x" * 32), "kid": "one"}],
        "no keys": [{"kty": "RSA", "kid": "one"}, 5, None],
        "none": [],
        "too many": [jwk(rsa_key("one"), f"k{n}") for n in range(65)],
    }
    for what, house.idp.keys in keys.items():
        key = rsa_key("short", 1024) if what == "too short" else rsa_key("one")
        house.idp.make = lambda claims, key=key: sign(RS, claims, key)  # type: ignore[misc]  # a default, to bind it now
        house.using()
        assert (await house.refused(await house.answer())).code == "id_token_refused", what


async def test_a_provider_changes_its_keys_and_is_not_asked_for_them_each_time(house: House) -> None:
    for _ in range(3):
        await house.sign_in()
    assert house.idp.asked.count("/realms/all/keys") == 1
    house.idp.keys = [jwk(ec_key("e"), "two")]
    house.idp.make = lambda claims: sign({"alg": "ES256", "kid": "two"}, claims, ec_key("e"))
    assert (await house.refused(await house.answer())).code == "id_token_refused"  # too soon to ask again
    house.clock.ahead_s = 31
    await house.sign_in()
    assert house.idp.asked.count("/realms/all/keys") == 2


# Answers that are not the answer --------------------------------------------------------------------------------------


async def test_a_code_and_a_state_work_once(house: House) -> None:
    came = await house.answer()
    await house.federation.end("school", came, "a browser")
    assert (await house.refused(came)).code == "sign_in_replayed"
    used = await house.answer()
    house.idp.codes.clear()  # somebody else was faster with the code
    assert (await house.refused(used)).code == "code_refused"


async def test_the_answer_must_come_in_the_browser_that_began(house: House) -> None:
    mine, theirs = await house.answer(), await house.answer()
    for came in (
        replace(mine, kept=""),
        replace(mine, kept="x" * 100),
        replace(mine, kept=theirs.kept),  # another sign-in's code, brought to this browser
        replace(mine, state=""),
        replace(mine, state="x" * 43),
    ):
        assert (await house.refused(came)).code == "sign_in_lost"
    house.clock.ahead_s = 601
    assert (await house.refused(mine)).code == "sign_in_lost"


async def test_a_code_of_another_sign_in_of_the_same_browser_is_worth_nothing(house: House) -> None:
    one, two = await house.answer(), await house.answer()
    assert (await house.refused(replace(one, code=two.code))).code == "code_refused"  # PKCE


async def test_answers_of_another_provider_are_refused(house: House) -> None:
    assert (await house.refused(await house.answer(issuer="https://evil.example"))).code == "wrong_issuer"
    assert (await house.refused(await house.answer(issuer=None))).code == "wrong_issuer"  # it says that it says so
    house.idp.metadata = {"authorization_response_iss_parameter_supported": False}
    house.using()
    await house.federation.end("school", await house.answer(issuer=None), "a browser")


async def test_a_start_at_one_provider_does_not_end_at_another(house: House) -> None:
    came = await house.answer()
    other = replace(house.settings, name="other")
    house.federation = house.make(other)
    with pytest.raises(Unauthenticated) as caught:
        await house.federation.end("other", came, "a browser")
    assert caught.value.code == "sign_in_lost"


async def test_who_says_no_there_is_told_so(house: House) -> None:
    assert (await house.refused(await house.answer(error="access_denied"))).code == "provider_refused"
    assert (await house.refused(await house.answer(code=""))).code == "provider_refused"


async def test_strangers_answers_do_not_fill_the_log(house: House) -> None:
    for _ in range(100):
        with pytest.raises(Unauthenticated):
            await house.federation.end("school", Came("", "x", "y"), "a browser")
    assert len(await house.events(Event.LOGIN_FAILED)) == 60


# Providers that fail --------------------------------------------------------------------------------------------------


async def test_a_provider_that_describes_itself_wrongly(house: House) -> None:
    wrong: list[Json] = [
        {"issuer": "https://evil.example"},
        {"token_endpoint": None},
        {"jwks_uri": "http://127.0.0.1/keys"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"code_challenge_methods_supported": ["plain"]},
    ]
    for house.idp.metadata in wrong:
        house.using()
        with pytest.raises(IntramuralError) as caught:
            await house.answer()
        assert caught.value.code == "provider_bad_answer"


async def test_no_other_host_is_contacted(house: House, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    context, _ = web.certificate(tmp_path / "other", "127.0.0.1")
    async with web.serving(house.idp, tls=context) as elsewhere:
        house.idp.metadata = {"token_endpoint": f"{elsewhere.url}/realms/all/token"}
        assert (await house.refused(await house.answer())).code == "provider_bad_answer"
        assert not elsewhere.seen


async def test_a_provider_that_is_not_who_it_should_be_or_not_there(house: House, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    _, other = web.certificate(tmp_path / "other", "127.0.0.1")
    house.using(ca_file=other)
    with pytest.raises(IntramuralError) as caught:
        await house.answer()
    assert caught.value.code == "provider_certificate_wrong"
    house.using(ca_file=tmp_path / "certificate.pem")
    house.idp.down = True
    for _ in range(5):
        with pytest.raises(IntramuralError) as caught:
            await house.answer()
        assert caught.value.code == "provider_unreachable"
    assert house.idp.asked.count("/realms/all/.well-known/openid-configuration") == 1  # left alone for a while


async def test_a_wrong_secret_is_our_mistake_and_no_body_is_endless(house: House) -> None:
    house.using(client_secret="another")
    assert (await house.refused(await house.answer())).code == "provider_bad_answer"
    house.using(client_secret=house.idp.client_secret)
    for reply in (web.Reply(200, body=b"{}", endless=True, length=None), web.Reply(200, body=b"[1]"), web.Reply(302)):
        house.idp.says = reply
        assert (await house.refused(await house.answer())).code == "provider_bad_answer"


async def test_nobody_comes_in_before_somebody_is_responsible(house: House, tmp_path: Path) -> None:
    db = await databases.opened(tmp_path / "empty.db")
    access = await Access.open(db, tmp_path / "secrets", AccessConfig(), house.clock)
    empty = Federation(
        Gate(house.audit), access.people, access.identities, access.sessions, access.setup,
        Seating(access.sessions, access.factors), Belonging(access.groups, access.external, access.identities),
        house.audit, access.oidc,
        [Provider(house.settings, asking(house.settings, direct), house.clock)], house.clock,
    )  # fmt: skip
    with pytest.raises(Refused) as caught:
        await empty.begin("school", HERE, "")
    assert caught.value.code == "not_set_up"
    await access.close()
    await db.close()


# Signing out there ----------------------------------------------------------------------------------------------------


async def test_signing_out_there_ends_the_sessions_that_rest_on_it(house: House) -> None:
    one = await house.sign_in(sub="s", sid="their-1")
    two = await house.sign_in(sub="s", sid="their-2")
    await house.federation.left("school", house.idp.logout_token(sub=None, sid="their-1"))
    with pytest.raises(Unauthenticated):
        await house.access.identify.by_session(one.token)
    await house.access.identify.by_session(two.token)
    await house.federation.left("school", house.idp.logout_token(sub="nobody-here"))
    token = house.idp.logout_token(sub="s")
    await house.federation.left("school", token)
    with pytest.raises(Unauthenticated):
        await house.access.identify.by_session(two.token)
    assert [facts(each)["sessions"] for each in await house.events(Event.LOGOUT_ELSEWHERE)] == [1, 0, 1]
    with pytest.raises(Unauthenticated) as caught:
        await house.federation.left("school", token)
    assert caught.value.code == "sign_in_replayed"


async def test_a_logout_token_that_lies_ends_nothing(house: House) -> None:
    seat = await house.sign_in()
    lies: list[tuple[Json, str]] = [
        ({"nonce": "x"}, "nonce"),
        ({"events": None}, "events"),
        ({"events": {}}, "events"),
        ({"sub": None}, "subject"),
        ({"jti": None}, "jti"),
        ({"aud": "another"}, "audience"),
        ({"header": {"alg": "none"}}, "algorithm"),
        ({"header": {"kid": "zwei"}}, "key"),
    ]
    for change, _ in lies:
        with pytest.raises(Unauthenticated):
            await house.federation.left("school", house.idp.logout_token(**change))
    assert [facts(each)["why"] for each in await house.events(Event.LOGIN_FAILED)] == [why for _, why in lies]
    await house.access.identify.by_session(seat.token)


async def test_an_id_token_is_no_logout_token_and_the_other_way_round(house: House) -> None:
    seat = await house.sign_in()
    with pytest.raises(Unauthenticated):
        await house.federation.left("school", sign(RS, house.idp.claims(jti="x"), rsa_key("one")))
    house.idp.make = lambda claims: house.idp.logout_token(nonce=claims["nonce"])
    assert (await house.refused(await house.answer())).code == "id_token_refused"
    await house.access.identify.by_session(seat.token)
