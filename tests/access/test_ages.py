"""Ages, consents, notices and oversight as facts of the policy: tables of what is refused to whom, by which rule."""

from datetime import date
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from intramural.access.ages import (
    CONSENTABLE,
    DEFAULTS,
    NO_AGES,
    WEEK_MINUTES,
    YOUNGEST,
    AgeRules,
    Feature,
    band_of,
    band_on,
    parse,
    parse_hours,
)
from intramural.access.policy import ANYTHING, ROLE_SCOPES, Action, Thing, When, decide
from intramural.access.rules import parse as parse_rules
from intramural.access.standing import consents_from
from intramural.access.uses import HIGH_RISK, PROHIBITED, check
from intramural.core.actor import AGES, Actor, Place, Standing, Unread
from intramural.core.errors import Misasked, Refused

MATHS = Place("workspace_m", "Grade 7 Maths", "education")
ALL = frozenset(CONSENTABLE)
OWN = Thing("person_me")


def pupil(age="13-15", consents=ALL, *, unread=(), place=None, role="member", **more):
    standing = Standing(age, frozenset(consents), unread)
    actor = Actor(
        "person", "person_me", "mia", role, ROLE_SCOPES[role], "session_1", groups=("group_7b",), standing=standing
    )
    return replace(actor if place is None else actor.inside(place, ""), **more)


def rule(actor, action=Action.MODEL_USE, thing=OWN, when=None):
    decision = decide(actor, action, thing, (), When(AgeRules()) if when is None else when)
    assert decision.allowed or (decision.reason and decision.hint), "a refusal says why, and what to do"
    return "" if decision.allowed else decision.rule


# what comes as it is --------------------------------------------------------------------------------------------------

#: age | with every consent: model, chat kept, file, tools | without any: model, chat, file, reading one's chats
TABLE = """
under-13 |  . off off off | c off off .
13-15    |  . . . off     | c c c .
16-17    |  . . . .       | . . . .
adult    |  . . . .       | . . . .
unknown  |  . . . .       | . . . .
"""
WORDS = {".": "", "off": "off_for_age", "c": "consent_needed"}
TOOLS = replace(OWN, tools=True)


@pytest.mark.parametrize("line", TABLE.strip().splitlines())
def test_the_limits_that_come_with_an_age(line):
    age, with_all, without = (cell.split() for cell in line.split("|"))
    asked = [(Action.MODEL_USE, OWN), (Action.CHATS_CREATE, OWN), (Action.FILES_CREATE, OWN), (Action.MODEL_USE, TOOLS)]
    assert [rule(pupil(*age), *each) for each in asked] == [WORDS[word] for word in with_all]
    asked[3] = (Action.CHATS_READ, OWN)
    assert [rule(pupil(*age, ()), *each) for each in asked] == [WORDS[word] for word in without]


@pytest.mark.parametrize(("below", "needed"), [
    (0, set()), (13, {"under-13"}), (14, {"under-13", "13-15"}), (16, {"under-13", "13-15"}),
    (17, {"under-13", "13-15", "16-17"}), (18, {"under-13", "13-15", "16-17"}),
])  # fmt: skip
def test_below_which_age_a_guardian_consents(below, needed):
    when = When(AgeRules(below))
    assert {age for age in AGES if rule(pupil(age, ()), when=when) == "consent_needed"} == needed


def test_whose_age_nobody_said_counts_as_the_settings_say():
    for band in YOUNGEST:
        when = When(AgeRules(unknown=band))
        for action, consents in product((Action.MODEL_USE, Action.CHATS_CREATE, Action.FILES_CREATE), ((), ALL)):
            assert rule(pupil("unknown", consents), action, when=when) == rule(pupil(band, consents), action)


def test_each_consent_is_for_what_it_names():
    keeping = (Action.CHATS_CREATE, Action.RESPONSES_KEEP, Action.CONVERSATIONS_CREATE)
    actions = {Action.MODEL_USE: "use", Action.FILES_CREATE: "files", Action.BATCHES_CREATE: "files"}
    actions |= dict.fromkeys(keeping, "keep")
    for (action, needed), given_ in product(actions.items(), CONSENTABLE):
        assert rule(pupil("13-15", {given_}), action) == ("" if given_ == needed else "consent_needed")
    assert rule(pupil("13-15", {"keep"}), Action.CHATS_CONTINUE) == "consent_needed", "a turn asks a model"
    assert rule(pupil("13-15", {"use"}), Action.CHATS_CONTINUE) == "consent_needed"
    assert rule(pupil("13-15", {"use", "keep"}), Action.CHATS_CONTINUE) == ""


def test_what_is_theirs_stays_theirs_without_any_consent():
    mine = (Action.ME_READ, Action.ME_EXPORT, Action.CHATS_READ, Action.CHATS_DELETE, Action.FILES_READ,
            Action.FILES_DELETE, Action.CONSENTS_READ, Action.NOTICES_READ, Action.NOTICES_ACKNOWLEDGE)  # fmt: skip
    for action, age in product(mine, AGES):
        assert rule(pupil(age, ()), action) == ""


def test_younger_people_may_never_more_than_older_ones():
    bands = sorted(YOUNGEST, key=YOUNGEST.__getitem__)
    for younger, older in pairwise(bands):
        one, other = AgeRules().limits(younger), AgeRules().limits(older)
        assert one.off >= other.off and one.consent >= other.consent
        assert (one.keep_days or 10**6) <= (other.keep_days or 10**6)
        assert ["allow", "redact", "block"].index(one.guard) >= ["allow", "redact", "block"].index(other.guard)


# relaxed or made stricter ---------------------------------------------------------------------------------------------

POLICY = """
[[age]]
band = "13-15"
why = "Only at home."
hours = "07:00-20:00 mon-fri"
models = ["school:1b"]
[[age]]
band = "13-15"
workspace = "Grade 7 Maths"
why = "The board agreed on 12 May."
tools = true
keep_days = 200
guard = "allow"
purposes = ["homework"]
consent = ["use"]
[[age]]
band = "adult"
why = "Everything here is handed in."
temporary = false
"""
MONDAY_NOON, SATURDAY_NOON, MONDAY_NIGHT = 12 * 60, 5 * 1440 + 12 * 60, 22 * 60


@pytest.fixture
def rules():
    return AgeRules(tables=parse(POLICY))


def test_a_table_changes_what_it_names_and_leaves_the_rest(rules):
    outside, inside = rules.limits("13-15"), rules.limits("13-15", MATHS)
    assert (outside.off, outside.keep_days, outside.guard) == (DEFAULTS["13-15"].off, 30, "redact")
    assert (inside.off, inside.keep_days, inside.guard) == (frozenset({Feature.AUDIO}), 200, "allow")
    assert inside.models == outside.models == {"school:1b"}, "the workspace's comes on top of the band's"
    assert (inside.consent, outside.consent) == ({Feature.USE}, ALL)
    assert rules.limits("under-13", MATHS) == AgeRules().limits("under-13")
    assert [each.shown["why"] for each in rules.tables][1] == "The board agreed on 12 May."


#: where, minute of the week, thing, purpose -> rule
ASKED = [
    (None, MONDAY_NOON, Thing(model="school:1b"), "", ""),
    (None, MONDAY_NOON, Thing(model="other:1b"), "", "model_not_for_age"),
    (None, MONDAY_NIGHT, Thing(model="school:1b"), "", "not_at_this_hour"),
    (None, SATURDAY_NOON, Thing(model="school:1b"), "", "not_at_this_hour"),
    (None, MONDAY_NOON, Thing(model="school:1b", tools=True), "", "off_for_age"),
    (MATHS, MONDAY_NOON, Thing(model="school:1b", tools=True), "homework", ""),
    (MATHS, MONDAY_NOON, Thing(model="school:1b"), "", "purpose_not_for_age"),
    (MATHS, MONDAY_NOON, Thing(model="school:1b"), "play", "purpose_not_for_age"),
]


@pytest.mark.parametrize(("place", "minute", "thing", "purpose", "expected"), ASKED)
def test_models_purposes_hours_and_tools(rules, place, minute, thing, purpose, expected):
    actor = replace(pupil("13-15", ALL, place=place), purpose=purpose)
    assert rule(actor, Action.MODEL_USE, thing, When(rules, minute)) == expected


def test_a_model_that_is_not_for_an_age_is_not_listed_to_it(rules):
    for age, model in product(("13-15", "adult"), ("school:1b", "other:1b")):
        expected = "model_not_for_age" if (age, model) == ("13-15", "other:1b") else ""
        assert rule(pupil(age, ()), Action.MODELS_READ, Thing(model=model), When(rules)) == expected


def test_temporary_chats_can_be_off(rules):
    for thing, expected in ((Thing(passing=True), "off_for_age"), (Thing(), "")):
        assert rule(pupil("adult"), Action.MODEL_USE, thing, When(rules)) == expected


def test_how_long_chats_are_kept(rules):
    assert rules.keep_days("13-15") == 30
    assert rules.keep_days("13-15", days=7) == 7
    assert rules.keep_days("13-15", "Grade 7 Maths") == 200
    assert rules.keep_days("13-15", "Grade 7 Maths", 365) == 200
    assert rules.keep_days("13-15", "Another", 365) == 30
    assert rules.keep_days("adult", days=365) == 365
    assert rules.keep_days("unknown") is None
    assert AgeRules(unknown="under-13").keep_days("unknown") == 30


BAD = {
    'band = "12"': "has the band '12'",
    'band = "adult"': "has no `why`",
    'band = "adult"\nwhy = " "': "has no `why`",
    'band = "adult"\nwhy = "x"': "changes nothing",
    'band = "adult"\nwhy = "x"\nuse = false': "use = False",
    'band = "adult"\nwhy = "x"\nkeep = "yes"': "keep = 'yes'",
    'band = "adult"\nwhy = "x"\nkeep_days = 0': "keep_days = 0",
    'band = "adult"\nwhy = "x"\nkeep_days = true': "keep_days = True",
    'band = "adult"\nwhy = "x"\nguard = "maybe"': "guard = 'maybe'",
    'band = "adult"\nwhy = "x"\nmodels = []': "models = []",
    'band = "adult"\nwhy = "x"\nconsent = ["tools"]': "consent = ['tools']",
    'band = "adult"\nwhy = "x"\nhours = "9-5"': "'9-5' are no hours",
    'band = "adult"\nwhy = "x"\nhours = "20:00-07:00"': "are no hours",
    'band = "adult"\nwhy = "x"\nhours = "07:00-20:00 fri-mon"': "are no hours",
    'band = "adult"\nwhy = "x"\nworkspace = 1\nkeep = true': "workspace that is no name",
    'band = "adult"\nwhy = "x"\ncolour = "red"': "colour = 'red'",
}


@pytest.mark.parametrize("text", BAD)
def test_a_table_that_says_nothing_is_not_loaded(text):
    with pytest.raises(Misasked) as caught:
        parse(f"[[age]]\n{text}\n")
    assert caught.value.code == "bad_policy" and BAD[text] in caught.value.message and caught.value.hint


def test_two_tables_about_the_same_are_refused_and_rules_beside_them_are_read():
    one = '[[age]]\nband = "adult"\nwhy = "x"\nkeep = false\n'
    with pytest.raises(Misasked, match="same band and workspace"):
        parse(one * 2)
    text = (
        one
        + """
[[rule]]
name = "young_and_phi"
when = { age = ["under-13", "13-15"], label = ["phi"] }
reason = "No."
hint = "Ask."
match = [{ age = "13-15", label = "phi" }]
no_match = [{ age = "adult", label = "phi" }]
"""
    )
    [own] = parse_rules(text, frozenset(Action))
    assert len(parse(text)) == 1
    inside = pupil("13-15", place=replace(MATHS, label="phi"))
    assert decide(inside, Action.MODEL_USE, ANYTHING, (own,)).rule == "rule_young_and_phi"
    assert decide(pupil("adult", place=replace(MATHS, label="phi")), Action.MODEL_USE, ANYTHING, (own,)).allowed


@given(st.integers(0, WEEK_MINUTES - 1))
def test_hours_are_those_that_are_written(minute):
    day, at = divmod(minute, 1440)
    assert parse_hours("07:00-20:00").has(minute) == (420 <= at < 1200)
    assert parse_hours("07:30-24:00 tue-thu").has(minute) == (1 <= day <= 3 and at >= 450)


# ages -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("birth_year", "band"), [
    (2026, "under-13"), (2014, "under-13"), (2013, "under-13"), (2012, "13-15"), (2010, "13-15"), (2009, "16-17"),
    (2008, "16-17"), (2007, "adult"), (1930, "adult"),
])  # fmt: skip
def test_the_band_of_a_birth_year_is_never_an_older_one(birth_year, band):
    assert band_of(birth_year, 2026) == band


@given(st.integers(1900, 2026))
def test_somebody_of_that_year_is_at_least_as_old_as_the_band_says(year):
    assert YOUNGEST[band_of(year, 2026)] <= max(2026 - year - 1, 0)


@pytest.mark.parametrize("year", [1800, 2028, 12])
def test_what_is_no_birth_year(year):
    with pytest.raises(Misasked) as caught:
        band_of(year, 2026)
    assert caught.value.code == "bad_birth_year"


@pytest.mark.parametrize(("today", "born", "band"), [
    ("2026-11-22", "2013-11-22", "13-15"), ("2026-11-22", "2013-11-23", "under-13"),
    ("2026-11-22", "2026-11-22", "under-13"), ("2026-11-22", "1876-11-22", "adult"),
    ("2025-02-28", "2012-02-29", "under-13"), ("2025-03-01", "2012-02-29", "13-15"),
    ("2028-02-29", "2010-02-28", "adult"), ("2028-02-28", "2012-02-29", "13-15"), ("2028-02-29", "2012-02-29", "16-17"),
])  # fmt: skip
def test_the_band_of_a_day_of_birth_changes_on_the_birthday(today, born, band):
    assert band_on(date.fromisoformat(today), date.fromisoformat(born)) == band


@given(st.dates(date(1880, 1, 1), date(2026, 11, 22)))
def test_a_year_alone_never_says_an_older_band_than_the_day(born):
    assert YOUNGEST[band_of(born.year, 2026)] <= YOUNGEST[band_on(date(2026, 11, 22), born)]


@pytest.mark.parametrize("born", ["2026-11-23", "1875-11-22", "0001-01-01", "9999-12-31"])
def test_what_is_no_day_of_birth_is_not_said_again(born):
    with pytest.raises(Misasked) as caught:
        band_on(date(2026, 11, 22), date.fromisoformat(born))
    assert caught.value.code == "bad_birth_date" and born[:4] not in str(caught.value.message)


def test_consents_count_until_they_run_out():
    text = "use,keep@1000 files@"
    assert consents_from(text, 999) == {"use", "keep", "files"}
    assert consents_from(text, 1000) == {"files"}
    assert consents_from(None, 0) == consents_from("", 0) == frozenset()


# notices and oversight ------------------------------------------------------------------------------------------------

#: audience -> whether it stops this pupil outside and inside of the workspace
AUDIENCES = {
    "everyone": (True, True),
    "role:member": (True, True),
    "role:manager": (False, False),
    "group:group_7b": (True, True),
    "group:group_8a": (False, False),
    "workspace:workspace_m": (False, True),
    "workspace:workspace_x": (False, False),
    "age:13-15": (True, True),
    "age:adult": (False, False),
}


@pytest.mark.parametrize("audience", AUDIENCES)
def test_a_notice_stops_those_it_is_for(audience):
    unread = (Unread("notice_1", audience, "House rules"),)
    for place, stops in zip((None, MATHS), AUDIENCES[audience], strict=True):
        actor = pupil(unread=unread, place=place)
        for action in (Action.MODEL_USE, Action.CHATS_CONTINUE):
            assert rule(actor, action) == ("notice_unread" if stops else "")
        assert rule(actor, Action.CHATS_READ) == rule(actor, Action.NOTICES_ACKNOWLEDGE) == ""


def test_the_refusal_names_the_notice_and_where_to_read_it():
    actor = pupil(unread=(Unread("notice_1", "everyone", "House rules"),))
    decision = decide(actor, Action.MODEL_USE, OWN, (), When(AgeRules(), 0, "https://ai.example.org"))
    assert "'House rules'" in decision.reason and "https://ai.example.org/#/settings/account" in decision.hint


def test_a_workspace_of_high_risk_answers_only_while_somebody_oversees_it():
    for overseen in (True, False):
        place = replace(MATHS, uses=("grading",), overseen=overseen)
        assert rule(pupil(place=place)) == ("" if overseen else "oversight_missing")
    assert rule(pupil(place=replace(MATHS, overseen=False))) == "", "where nothing is declared nobody needs to"


def test_only_an_overseer_reviews():
    for overseer, role in product((True, False), ("member", "administrator")):
        actor = pupil("adult", role=role)
        assert rule(actor, Action.OUTPUTS_REVIEW, Thing(overseer=overseer)) == ("" if overseer else "not_its_overseer")


def test_what_is_prohibited_cannot_be_declared_and_what_is_of_high_risk_can():
    for use in PROHIBITED:
        with pytest.raises(Refused) as caught:
            check(use)
        assert caught.value.code == "use_prohibited" and "article 5" in caught.value.message
    assert [check(use) for use in HIGH_RISK] == list(HIGH_RISK)
    assert not set(PROHIBITED) & set(HIGH_RISK)
    with pytest.raises(Misasked):
        check("something else")


def test_without_settings_nothing_is_asked_of_adults():
    assert NO_AGES.limits("unknown") == NO_AGES.limits("adult") == DEFAULTS["adult"]
