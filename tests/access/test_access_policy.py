"""The table of `policy`, against a second one written down from what the service promises, over every combination."""

from itertools import chain, combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.access.policy import ROLE_SCOPES, Action, decide, permissions
from intramural.core.actor import ROLES, SCOPES, SYSTEM, Actor

#: action | roles, to their own | roles, to others' and everybody's | scopes, one of which a key needs (-: none will do)
#: roles: A administrator, U auditor, M member; scopes: i inference, c chats, a admin, m metrics
EXPECTED = """
me.read             | AUM | AUM | icam
me.change_password  | AUM |     | -
me.read_sessions    | AUM |     | -
me.close_session    | AUM |     | -
keys.read           | AUM | AU  | a
keys.create         | AUM |     | -
keys.revoke         | AUM | A   | a
people.read         | AU  | AU  | a
people.create       | A   | A   | a
people.change       | A   | A   | a
people.remove       | A   | A   | a
models.read         | AUM | AUM | ica
model.use           | AUM | AUM | i
models.load         | A   | A   | a
models.unload       | A   | A   | a
models.pin          | A   | A   | a
models.remove       | A   | A   | a
models.pull         | A   | A   | a
models.sign         | A   | A   | a
models.export       | A   | A   | a
bill.read           | AU  | AU  | a
models.release      | A   | A   | a
machine.read        | AUM | AUM | a
chats.read          | AUM |     | c
chats.create        | AUM |     | c
chats.change        | AUM |     | c
chats.continue      | AUM |     | c
chats.delete        | AUM |     | c
streams.read        | AUM |     | i
streams.cancel      | AUM |     | i
files.read          | AUM |     | i
files.create        | AUM |     | i
files.delete        | AUM |     | i
batches.read        | AUM |     | i
batches.create      | AUM |     | i
batches.cancel      | AUM |     | i
batches.delete      | AUM |     | i
receipts.read       | AUM |     | ia
responses.read      | AUM |     | i
responses.keep      | AUM |     | i
responses.cancel    | AUM |     | i
responses.delete    | AUM |     | i
conversations.read  | AUM |     | i
conversations.create | AUM |    | i
conversations.change | AUM |    | i
conversations.delete | AUM |    | i
audit.read          | AU  | AU  | a
audit.verify        | AU  | AU  | a
usage.read          | AUM | AU  | a
metrics.read        | AU  | AU  | m
guard.read          | AUM | AUM | i
"""
ROLE_LETTERS = {"A": "administrator", "U": "auditor", "M": "member"}
SCOPE_LETTERS = {"i": "inference", "c": "chats", "a": "admin", "m": "metrics"}
TABLE = {
    action.strip(): (
        {ROLE_LETTERS[letter] for letter in own.strip()},
        {ROLE_LETTERS[letter] for letter in others.strip()},
        {SCOPE_LETTERS[letter] for letter in scopes.strip() if letter != "-"},
    )
    for action, own, others, scopes in (line.split("|") for line in EXPECTED.strip().splitlines())
}
SCOPE_SETS = [frozenset(some) for some in chain.from_iterable(combinations(SCOPES, n) for n in range(5))]
CHANGING = [action for action in Action if action.value.split(".")[1] not in ("read", "read_sessions", "verify")]


def person(role, **more):
    return Actor("person", "person_me", "me", role, ROLE_SCOPES[role], "session_1", **more)


def key(role, scopes, **more):
    return Actor("key", "person_me", "me", role, frozenset(scopes), "key_1", **more)


def test_every_action_is_in_the_expectation_and_nothing_else():
    assert {action.value for action in Action} == set(TABLE)


@pytest.mark.parametrize("action", Action)
def test_every_combination(action):
    own, others, scopes = TABLE[action.value]
    for role, owner in product(ROLES, ("person_me", "person_else", None)):
        right_role = role in (own if owner == "person_me" else others)
        assert decide(person(role), action, owner_id=owner).allowed == right_role, (role, owner)
        for held in SCOPE_SETS:
            decision = decide(key(role, held), action, owner_id=owner)
            assert decision.allowed == (right_role and bool(held & scopes)), (role, owner, held)


@pytest.mark.parametrize("action", Action)
def test_every_refusal_says_which_rule_why_and_what_to_do(action):
    everyone = [person(role) for role in ROLES] + [key(role, held) for role in ROLES for held in SCOPE_SETS]
    for actor, owner in product(everyone, ("person_me", "person_else", None)):
        decision = decide(actor, action, target="some:model", owner_id=owner)
        if decision.allowed:
            continue
        assert decision.rule in {"session_required", "scope_missing", "role_missing", "not_yours"}
        assert action.value in decision.reason
        assert decision.hint
        refusal = decision.refusal()
        assert (refusal.code, refusal.message, refusal.hint) == (decision.rule, decision.reason, decision.hint)


def test_an_auditor_sees_the_log_and_the_usage_but_nobodys_content_and_changes_nothing():
    auditor = person("auditor")
    assert decide(auditor, Action.AUDIT_READ).allowed
    assert decide(auditor, Action.USAGE_READ).allowed
    assert decide(auditor, Action.CHATS_READ, owner_id="person_else").rule == "not_yours"
    changed = [a for a in CHANGING if a is not Action.MODEL_USE and decide(auditor, a, owner_id="person_else").allowed]
    assert changed == []


def test_nobody_but_its_owner_reaches_a_chat_not_even_an_administrator():
    chats = [action for action in Action if action.value.startswith("chats.")]
    for action, role in product(chats, ROLES):
        assert decide(person(role), action, owner_id="person_else").rule == "not_yours"


def test_a_key_that_names_models_opens_only_those():
    limited = key("administrator", {"inference"}, models=frozenset({"small:1b"}))
    assert decide(limited, Action.MODEL_USE, target="small:1b").allowed
    refused = decide(limited, Action.MODEL_USE, target="large:70b")
    assert refused.rule == "model_not_allowed"
    assert "small:1b" in refused.hint
    assert not decide(limited, Action.MODELS_READ, target="large:70b").allowed
    assert decide(limited, Action.MODELS_READ).allowed  # the list, which the service filters


@given(
    action=st.sampled_from(list(Action)),
    role=st.sampled_from(ROLES),
    scopes=st.frozensets(st.sampled_from(SCOPES)),
    models=st.none() | st.frozensets(st.text(max_size=5), max_size=3),
    target=st.none() | st.text(max_size=5),
    owner=st.sampled_from(["person_me", "person_else", None]),
)
def test_a_key_never_may_what_its_person_may_not(action, role, scopes, models, target, owner):
    if decide(key(role, scopes, models=models), action, target=target, owner_id=owner).allowed:
        assert decide(person(role), action, target=target, owner_id=owner).allowed


@given(
    action=st.sampled_from(list(Action)),
    scopes=st.frozensets(st.sampled_from(SCOPES)),
    owner=st.sampled_from(["person_me", "person_else", None]),
)
def test_an_administrator_may_all_that_anybody_else_may(action, scopes, owner):
    for role in ROLES:
        if decide(key(role, scopes), action, owner_id=owner).allowed:
            assert decide(key("administrator", scopes), action, owner_id=owner).allowed


def test_the_service_itself_may_everything():
    assert all(decide(SYSTEM, action, target="any", owner_id="person_else").allowed for action in Action)


def test_permissions_tell_a_page_what_to_offer():
    assert "keys.read" in permissions(person("member"))
    assert "keys.read.all" not in permissions(person("member"))
    assert "keys.read.all" in permissions(person("auditor"))
    assert "people.create" not in permissions(person("auditor"))
    assert {"people.create", "audit.read", "keys.revoke.all"} <= set(permissions(person("administrator")))
    assert "chats.read.all" not in permissions(person("administrator"))
    assert permissions(key("administrator", {"metrics"})) == ["me.read", "metrics.read"]
