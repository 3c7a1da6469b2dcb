"""The table of `policy`, against a second one written down from what the service promises, over every combination."""

from itertools import chain, combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from intramural.access.policy import (
    ALWAYS,
    ANYTHING,
    ROLE_SCOPES,
    UNGRANTABLE,
    Action,
    Thing,
    decide,
    grantable,
    permissions,
    role_permissions,
    scopes_of,
)
from intramural.access.rules import parse
from intramural.core.actor import LABELS, ROLES, SCOPES, SYSTEM, Actor, Place
from intramural.core.errors import Misasked

#: action | roles, to their own | to those' of groups they manage | to others' and everybody's | scopes, one of which a
#: key needs (-: none will do). Roles: A administrator, U auditor, G manager, M member, S service; scopes: i inference,
#: c chats, a admin, m metrics, p provision
EXPECTED = """
me.read              | AUGMS | AUGMS | AUGMS | icamp
me.change_password   | AUGM  |       |       | -
me.read_sessions     | AUGM  |       |       | -
me.close_session     | AUGM  |       |       | -
me.export            | AUGM  |       |       | -
keys.read            | AUGMS | AU    | AU    | a
keys.create          | AUGM  |       |       | -
keys.revoke          | AUGMS | A     | A     | a
people.read          | AU    | AUG   | AU    | a
people.create        | A     | A     | A     | a
people.change        | A     | A     | A     | a
people.remove        | A     | A     | A     | a
people.import        | A     | A     | A     | a
people.provision     | A     | A     | A     | p
vault.change_keys    | A     | A     | A     | a
groups.read          | AU    | AUG   | AU    | a
groups.change        | A     | A     | A     | a
roles.read           | AU    | AU    | AU    | a
roles.change         | A     | A     | A     | a
workspaces.read      | AUGMS | AU    | AU    | ica
workspaces.change    | A     | A     | A     | a
workspace.enter      | AUGMS | AUGMS | AUGMS | icamp
policy.explain       | AUGMS | AU    | AU    | a
models.read          | AUGMS | AUGMS | AUGMS | ica
model.use            | AUGMS | AUGMS | AUGMS | i
models.load          | A     | A     | A     | a
models.unload        | A     | A     | A     | a
models.pin           | A     | A     | A     | a
models.remove        | A     | A     | A     | a
models.pull          | A     | A     | A     | a
models.sign          | A     | A     | A     | a
models.export        | A     | A     | A     | a
bill.read            | AU    | AU    | AU    | a
models.release       | A     | A     | A     | a
machine.read         | AU    | AU    | AU    | a
chats.read           | AUGM  |       |       | c
chats.create         | AUGM  |       |       | c
chats.change         | AUGM  |       |       | c
chats.continue       | AUGM  |       |       | c
chats.delete         | AUGM  |       |       | c
streams.read         | AUGMS |       |       | i
streams.cancel       | AUGMS |       |       | i
files.read           | AUGMS |       |       | i
files.create         | AUGMS |       |       | i
files.delete         | AUGMS |       |       | i
batches.read         | AUGMS |       |       | i
batches.create       | AUGMS |       |       | i
batches.cancel       | AUGMS |       |       | i
batches.delete       | AUGMS |       |       | i
receipts.read        | AUGMS |       |       | ia
responses.read       | AUGMS |       |       | i
responses.keep       | AUGMS |       |       | i
responses.cancel     | AUGMS |       |       | i
responses.delete     | AUGMS |       |       | i
conversations.read   | AUGMS |       |       | i
conversations.create | AUGMS |       |       | i
conversations.change | AUGMS |       |       | i
conversations.delete | AUGMS |       |       | i
audit.read           | AU    | AU    | AU    | a
audit.verify         | AU    | AU    | AU    | a
usage.read           | AUGMS | AUG   | AU    | a
reviews.sign         | AU    | AU    | AU    | a
holds.read           | AU    | AU    | AU    | a
holds.change         | AU    | AU    | AU    | a
retention.read       | AU    | AU    | AU    | a
retention.run        | A     | A     | A     | a
disclosures.read     | AUGMS | AU    | AU    | a
quotas.read          | AUGMS | AU    | AU    | ia
quotas.change        | A     | A     | A     | a
metrics.read         | AU    | AU    | AU    | m
guard.read           | AUGMS | AUGMS | AUGMS | i
ages.read            | AUGMS | AUG   | AU    | a
ages.change          | A     | AG    | A     | a
consents.read        | AUGMS | AUG   | AU    | a
consents.change      | A     | AG    | A     | a
notices.read         | AUGMS | AU    | AU    | ica
notices.change       | A     | A     | A     | a
notices.acknowledge  | AUGM  | AG    | A     | -
uses.read            | AU    | AU    | AU    | a
uses.declare         | A     | A     | A     | a
outputs.review       | AUGM  | AUGM  | AUGM  | a
me.read_openings     | AUGMS |       |       | -
breakglass.ask       | A     |       |       | -
breakglass.list      | AU    | AU    | AU    | -
breakglass.approve   | AU    | AU    | AU    | -
breakglass.close     | AU    | AU    | AU    | -
egress.read          | AU    | AU    | AU    | a
egress.change        | A     | A     | A     | a
"""
ROLE_LETTERS = {"A": "administrator", "U": "auditor", "G": "manager", "M": "member", "S": "service"}
SCOPE_LETTERS = {"i": "inference", "c": "chats", "a": "admin", "m": "metrics", "p": "provision"}
TABLE = {
    action.strip(): (
        *({ROLE_LETTERS[letter] for letter in column.strip()} for column in columns),
        {SCOPE_LETTERS[letter] for letter in scopes.strip() if letter != "-"},
    )
    for action, *columns, scopes in (line.split("|") for line in EXPECTED.strip().splitlines())
}
#: Whose a thing is, for somebody who manages the group `mine`; and the column of the table that says who may.
THINGS = {
    "own": (Thing("person_me", frozenset({"mine"})), 0),
    "in a group of theirs": (Thing("person_else", frozenset({"mine", "around"})), 1),
    "in another group": (Thing("person_else", frozenset({"other", "around"})), 2),
    "in no group": (Thing("person_else"), 2),
    "everybody's": (ANYTHING, 2),
}
SCOPE_SETS = [frozenset(some) for some in chain.from_iterable(combinations(SCOPES, n) for n in range(6))]
_LOOKING = ("read", "read_sessions", "read_openings", "list", "verify", "explain")
CHANGING = [action for action in Action if action.value.split(".")[1] not in _LOOKING]


def person(role, **more):
    return Actor("person", "person_me", "me", role, ROLE_SCOPES[role], "session_1", manages=("mine",), **more)


def key(role, scopes, **more):
    return Actor("key", "person_me", "me", role, frozenset(scopes), "key_1", manages=("mine",), **more)


def test_every_action_is_in_the_expectation_and_nothing_else():
    assert {action.value for action in Action} == set(TABLE)


@pytest.mark.parametrize("action", Action)
def test_every_combination(action):
    scopes = TABLE[action.value][-1]
    for role, (thing, column) in product(ROLES, THINGS.values()):
        if action is Action.WORKSPACE_ENTER:
            thing = replace(thing, member=True)
        thing = replace(thing, overseer=True)
        # what is a manager's own counts also as of somebody in their group
        right_role = role in TABLE[action.value][column] or (column == 0 and role in TABLE[action.value][1])
        if action is Action.BREAKGLASS_APPROVE and column == 0:
            right_role = False  # never for oneself
        assert decide(person(role), action, thing).allowed == right_role, (role, thing)
        for held in SCOPE_SETS:
            decision = decide(key(role, held), action, thing)
            assert decision.allowed == (right_role and bool(held & scopes)), (role, thing, held)
        if right_role:
            unled = replace(person(role), manages=())
            column = 2 if column == 1 else column
            assert decide(unled, action, thing).allowed == (role in TABLE[action.value][column])


@pytest.mark.parametrize("action", Action)
def test_every_refusal_says_which_rule_why_and_what_to_do(action):
    everyone = [person(role) for role in ROLES] + [key(role, held) for role in ROLES for held in SCOPE_SETS]
    for actor, (thing, _) in product(everyone, THINGS.values()):
        decision = decide(actor, action, replace(thing, model="some:model"))
        if decision.allowed:
            continue
        if decision.rule not in ("not_in_workspace", "not_its_overseer"):
            assert decision.rule in RULES
            assert action.value in decision.reason
        assert decision.hint
        refusal = decision.refusal()
        assert (refusal.code, refusal.message, refusal.hint) == (decision.rule, decision.reason, decision.hint)


RULES = {"session_required", "scope_missing", "role_missing", "not_yours", "not_in_your_groups", "not_oneself"}


def test_an_auditor_sees_the_log_and_the_usage_but_nobodys_content_and_changes_nothing():
    auditor = person("auditor")
    assert decide(auditor, Action.AUDIT_READ).allowed
    assert decide(auditor, Action.USAGE_READ).allowed
    assert decide(auditor, Action.CHATS_READ, Thing("person_else")).rule == "not_yours"
    changed = [a for a in CHANGING if a is not Action.MODEL_USE and decide(auditor, a, Thing("person_else")).allowed]
    work = {Action.REVIEWS_SIGN, Action.HOLDS_CHANGE, Action.BREAKGLASS_APPROVE, Action.BREAKGLASS_CLOSE}
    assert set(changed) == work


def test_nobody_but_its_owner_reaches_a_chat_not_even_an_administrator():
    chats = [action for action in Action if action.value.startswith("chats.")]
    for action, role in product(chats, ROLES):
        for thing in (Thing("person_else"), Thing("person_else", frozenset({"mine"})), ANYTHING):
            expected = "role_missing" if role == "service" else "not_yours"
            assert decide(person(role), action, thing).rule == expected


def test_a_manager_sees_the_people_of_their_groups_and_nothing_they_write():
    manager = person("manager")
    theirs = Thing("person_else", frozenset({"mine"}))
    may = {a for a in Action if decide(manager, a, theirs).allowed and not decide(person("member"), a, theirs).allowed}
    seen = {Action.PEOPLE_READ, Action.GROUPS_READ, Action.USAGE_READ, Action.AGES_READ, Action.CONSENTS_READ}
    assert may == seen | {Action.AGES_CHANGE, Action.CONSENTS_CHANGE, Action.NOTICES_ACKNOWLEDGE}  # forms on paper
    assert {decide(manager, action, theirs).rule for action in may} == {"manages"}
    assert decide(manager, Action.PEOPLE_READ, Thing("person_else")).rule == "not_in_your_groups"
    assert decide(person("member"), Action.PEOPLE_READ, theirs).rule == "role_missing", "the role is needed as well"


def test_only_an_administrator_makes_a_key_for_somebody_else_and_only_for_a_service_account():
    for role in ROLES:
        assert not decide(person(role), Action.KEYS_CREATE, Thing("person_else")).allowed
        wanted = role == "administrator"
        assert decide(person(role), Action.KEYS_CREATE, Thing("person_else", service=True)).allowed == wanted
        assert not decide(key(role, SCOPES), Action.KEYS_CREATE, Thing("person_else", service=True)).allowed


def test_a_key_that_names_models_opens_only_those():
    limited = key("administrator", {"inference"}, models=frozenset({"small:1b"}))
    assert decide(limited, Action.MODEL_USE, Thing(model="small:1b")).allowed
    refused = decide(limited, Action.MODEL_USE, Thing(model="large:70b"))
    assert refused.rule == "model_not_allowed"
    assert "small:1b" in refused.hint
    assert not decide(limited, Action.MODELS_READ, Thing(model="large:70b")).allowed
    assert decide(limited, Action.MODELS_READ).allowed  # the list, which the service filters


ACTIONS = st.sampled_from(list(Action))
SOME_SCOPES = st.frozensets(st.sampled_from(SCOPES))
SOME_MODELS = st.none() | st.frozensets(st.text(max_size=5), max_size=3)
PLACES = st.builds(
    Place,
    st.sampled_from(["workspace_1", "workspace_2"]),
    st.just("Radiology"),
    st.sampled_from(LABELS),
    SOME_MODELS,
    st.lists(st.sampled_from(["care", "billing"]), max_size=2).map(tuple),
)
SOME_THINGS = st.builds(
    Thing,
    owner_id=st.sampled_from(["person_me", "person_else", None]),
    groups=st.frozensets(st.sampled_from(["mine", "other"])),
    service=st.booleans(),
    model=st.none() | st.text(max_size=5),
    place=st.none() | PLACES,
    member=st.booleans(),
    grants=st.frozensets(st.sampled_from(sorted(grantable()))),
)


@given(action=ACTIONS, role=st.sampled_from(ROLES), scopes=SOME_SCOPES, models=SOME_MODELS, thing=SOME_THINGS)
def test_a_key_never_may_what_its_person_may_not(action, role, scopes, models, thing):
    if decide(key(role, scopes, models=models), action, thing).allowed:
        assert decide(person(role), action, thing).allowed


@given(action=ACTIONS, scopes=SOME_SCOPES, thing=SOME_THINGS)
def test_an_administrator_may_all_that_anybody_else_may(action, scopes, thing):
    for role in ROLES:
        if decide(key(role, scopes), action, thing).allowed:
            assert decide(key("administrator", scopes), action, thing).allowed


@given(action=ACTIONS, granted=st.frozensets(st.text(max_size=8) | st.sampled_from([*grantable()])), thing=SOME_THINGS)
def test_a_role_of_ones_own_never_may_more_than_an_administrator_or_what_its_permissions_say(action, granted, thing):
    own = replace(person("administrator"), role="lab assistant", permissions=granted)
    if decide(own, action, thing).allowed:
        assert decide(person("administrator"), action, thing).allowed
        assert action in ALWAYS or granted & {action.value, f"{action}.managed", f"{action}.all"}


@given(action=ACTIONS, thing=SOME_THINGS, place=PLACES, purpose=st.sampled_from(["", "care"]), rules=st.booleans())
def test_a_workspace_and_rules_only_take_away(action, thing, place, purpose, rules):
    for actor in (person("member"), person("administrator"), key("manager", SCOPES)):
        inside = actor.inside(place, purpose)
        if decide(inside, action, thing, RULE if rules else ()).allowed:
            assert decide(actor, action, replace(thing, place=None)).allowed


@pytest.mark.parametrize("role", ROLES)
def test_a_role_of_ones_own_with_a_roles_permissions_is_that_role(role):
    """For all but `roles.change`, which no such role can have, and keys for service accounts."""
    granted = role_permissions(role) & grantable()
    own = replace(person(role), role="copy", permissions=granted, scopes=scopes_of(granted))
    for action, (thing, _) in product(set(Action) - UNGRANTABLE, THINGS.values()):
        thing = replace(thing, member=True)
        if role == "service":
            continue  # it has less than any of its permissions would need
        assert decide(own, action, thing).allowed == decide(person(role), action, thing).allowed, (action, thing)


def test_nobody_acts_on_those_who_may_more():
    helpdesk = replace(
        person("member"), role="helpdesk", permissions=role_permissions("member") | {"people.change", "people.read"}
    )
    pupil, boss = (Thing("person_else", grants=role_permissions(role)) for role in ("member", "administrator"))
    assert decide(helpdesk, Action.PEOPLE_CHANGE, pupil).allowed
    assert decide(helpdesk, Action.PEOPLE_CHANGE, boss).rule == "beyond_you"
    assert decide(helpdesk, Action.PEOPLE_CREATE, pupil).rule == "role_missing"
    assert decide(person("administrator"), Action.PEOPLE_CHANGE, boss).allowed


CLINIC = Place("workspace_1", "Radiology", "phi", frozenset({"clinic:8b"}), ("care",))


def test_in_a_workspace_its_models_and_purposes_count():
    inside = person("member").inside(CLINIC, "care")
    assert decide(inside, Action.MODEL_USE, Thing(model="clinic:8b")).allowed
    assert decide(inside, Action.MODEL_USE, Thing(model="tiny:1b")).rule == "model_not_in_workspace"
    assert not decide(inside, Action.MODELS_READ, Thing(model="tiny:1b")).allowed
    for purpose in ("", "billing"):
        refused = decide(person("member").inside(CLINIC, purpose), Action.MODEL_USE, Thing(model="clinic:8b"))
        assert refused.rule == "purpose_required"
        assert "care" in refused.hint
    for action in ("files.create", "batches.create", "responses.keep", "conversations.create", "conversations.change"):
        assert decide(inside, Action(action), Thing("person_me")).allowed


def test_an_institutions_rule_can_keep_files_out_of_a_label():
    (rule,) = parse(
        """
[[rule]]
name = "no_files"
when = { action = ["files.create"], label = ["phi"] }
reason = "Patients' files stay in the archive."
hint = "Use the archive."
match = [{ action = "files.create", label = "phi" }]
no_match = [{ action = "files.read", label = "phi" }]
""",
        KNOWN,
    )
    inside = person("member").inside(CLINIC, "care")
    assert decide(inside, Action.FILES_CREATE, Thing("person_me"), [rule]).rule == "rule_no_files"
    assert decide(inside, Action.FILES_READ, Thing("person_me"), [rule]).allowed
    assert decide(person("member"), Action.FILES_CREATE, Thing("person_me"), [rule]).allowed


def test_what_is_of_a_workspace_is_reached_in_it_alone():
    mine = Thing("person_me", place=CLINIC)
    elsewhere = person("member").inside(replace(CLINIC, id="workspace_2"), "care")
    for actor in (person("member"), elsewhere, person("administrator")):
        assert decide(actor, Action.CHATS_READ, mine).rule == "other_workspace"
    assert decide(person("member").inside(CLINIC, ""), Action.CHATS_READ, mine).allowed
    somebody = Thing("person_else", place=CLINIC)
    assert decide(person("member").inside(CLINIC, ""), Action.CHATS_READ, somebody).rule == "not_yours"
    assert decide(person("administrator"), Action.WORKSPACE_ENTER, Thing(place=CLINIC)).rule == "not_in_workspace"
    half = replace(person("member"), workspace="workspace_1")
    assert decide(half, Action.MODEL_USE, Thing(model="clinic:8b")).rule == "workspace_unknown"


def test_the_service_itself_may_everything_but_read_what_people_write():
    not_even_it = {Action.BREAKGLASS_APPROVE} | {
        Action(f"{things}.read") for things in ("chats", "files", "responses", "conversations", "batches")
    }
    for action in Action:
        assert decide(SYSTEM, action, Thing("person_else", model="any")).allowed == (action not in not_even_it), action
    assert decide(SYSTEM, Action.FILES_READ, Thing(SYSTEM.person_id)).allowed


def test_permissions_tell_a_page_what_to_offer():
    assert "keys.read" in permissions(person("member"))
    assert "keys.read.all" not in permissions(person("member"))
    assert "keys.read.all" in permissions(person("auditor"))
    assert "people.create" not in permissions(person("auditor"))
    assert {"people.create", "audit.read", "keys.revoke.all"} <= set(permissions(person("administrator")))
    assert "chats.read.all" not in permissions(person("administrator"))
    assert {"people.read.managed", "usage.read.managed"} <= set(permissions(person("manager")))
    assert "people.read.managed" not in permissions(replace(person("manager"), manages=()))
    assert permissions(key("administrator", {"metrics"})) == ["me.read", "workspace.enter", "metrics.read"]


# the institution's own rules


POLICY = """
[[rule]]
name = "phi_models"
when = { action = ["model.use"], label = ["phi", "education"] }
unless = { model = ["clinic:8b"], role = ["member", "manager"] }
reason = "Patients' data is only for the clinic's own model."
hint = "Use clinic:8b."
match = [
  { action = "model.use", label = "phi", model = "tiny:1b", role = "member" },
  { action = "model.use", label = "phi", model = "clinic:8b" },
]
no_match = [
  { action = "model.use", label = "phi", model = "clinic:8b", role = "member" },
  { action = "model.use", model = "tiny:1b" },
  { action = "chats.read", label = "phi" },
]

[[rule]]
name = "no_purpose"
when = { label = ["phi"], purpose = [""], group = ["g1", "g2"], action = ["chats.continue"] }
reason = "A purpose is needed."
hint = "Name one."
match = [{ label = "phi", group = ["g0", "g2"], action = "chats.continue" }]
no_match = [
  { label = "phi", group = "g1", action = "chats.continue", purpose = "care" },
  { label = "phi", action = "chats.continue" },
]
"""
KNOWN = frozenset(action.value for action in Action)
RULE = parse(POLICY, KNOWN)


def test_a_rule_refuses_with_its_own_reason_and_hint():
    place = replace(CLINIC, models=None, purposes=())
    inside = person("member").inside(place, "")
    refused = decide(inside, Action.MODEL_USE, Thing(model="tiny:1b"), RULE)
    assert (refused.rule, refused.hint) == ("rule_phi_models", "Use clinic:8b.")
    assert decide(inside, Action.MODEL_USE, Thing(model="clinic:8b"), RULE).allowed
    auditor = person("auditor").inside(place, "")
    assert not decide(auditor, Action.MODEL_USE, Thing(model="clinic:8b"), RULE).allowed
    assert decide(person("member"), Action.MODEL_USE, Thing(model="tiny:1b"), RULE).allowed
    assert decide(inside, Action.CHATS_CONTINUE, Thing("person_me"), RULE).allowed
    grouped = replace(inside, groups=("g0", "g2"))
    assert decide(grouped, Action.CHATS_CONTINUE, Thing("person_me"), RULE).rule == "rule_no_purpose"
    assert decide(SYSTEM, Action.MODEL_USE, Thing(model="tiny:1b"), RULE).allowed


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('label = "phi", model = "tiny:1b", role', 'label = "public", model = "tiny:1b", role', "match 1"),
        ('{ action = "chats.read", label = "phi" }', '{ action = "model.use", label = "phi" }', "no_match 3"),
        ('label = ["phi", "education"]', 'label = ["education"]', "match 1"),
        ("match = [{ label", "match = []\nx = [{ label", "'x'"),
        ("no_match = [\n  { label", "x_match = [\n  { label", "x_match"),
        ('name = "no_purpose"', 'name = "phi_models"', "one name"),
        ('name = "no_purpose"', 'name = "No purpose"', "lower case"),
        ('reason = "A purpose is needed."', "", "reason"),
        ('hint = "Name one."', 'hint = ""', "hint"),
        ('action = ["chats.continue"]', 'action = ["chats.go_on"]', "chats.go_on"),
        ('purpose = [""]', "porpoise = []", "porpoise"),
        ('purpose = [""]', 'purpose = ""', "purpose"),
        ('unless = { model = ["clinic:8b"], role = ["member", "manager"] }', 'unless = "x"', "unless"),
        ("[[rule]]\nname", "rules = 1\n[[rule]]\nname", "nothing else"),
        ("[[rule]]\nname", "[[rule]\nname", "TOML"),
        ('when = { label = ["phi"], purpose = [""], group = ["g1", "g2"], action = ["chats.continue"] }', "", "when"),
    ],
)
def test_a_policy_whose_examples_fail_or_that_is_none_is_not_loaded(before, after, said):
    assert POLICY.count(before) >= 1
    with pytest.raises(Misasked) as caught:
        parse(POLICY.replace(before, after, 1), KNOWN)
    assert caught.value.code == "bad_policy"
    assert said in caught.value.message
    assert caught.value.hint


def test_no_policy_is_no_rules():
    assert parse("", KNOWN) == ()
