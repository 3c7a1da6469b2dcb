"""PATCH and filters, as directories send them. Pure."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intramural.core.errors import IntramuralError, Misasked
from intramural.http.scim import filters, parse, patch
from intramural.services.provisioning import Membership

MIA = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "id": "person_1",
    "userName": "mia@school.example",
    "active": True,
    "name": {"givenName": "Mia", "familyName": "T"},
    "emails": [{"value": "mia@school.example", "type": "work", "primary": True}, {"value": "m@home", "type": "home"}],
}


def user(*operations: dict[str, Any]) -> Any:
    return parse.wanted(patch.patched_user(MIA, patch.operations({"Operations": list(operations)})))


def group(*operations: dict[str, Any]) -> Membership:
    resource = {"displayName": "7b", "members": []}
    return patch.patched_group(resource, patch.operations({"Operations": list(operations)}))[1]


# as Entra ID and Okta send them ---------------------------------------------------------------------------------------


def test_what_entra_sends_of_users() -> None:
    assert not user({"op": "Replace", "path": "active", "value": "False"}).active
    assert not user({"op": "Add", "path": "active", "value": False}).active
    changed = user(
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "new@school.example"},
        {"op": "Replace", "path": "name.familyName", "value": "Thermopolis"},
        {"op": "Add", "path": "externalId", "value": "4711"},
        {
            "op": "Replace",
            "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            "value": "x",
        },
        {"op": "Add", "path": "title", "value": "pupil"},
    )
    assert changed.about["emails"][0] == {"value": "new@school.example", "type": "work", "primary": True}
    assert changed.about["emails"][1] == {"value": "m@home", "type": "home"}
    assert changed.about["name"] == {"givenName": "Mia", "familyName": "Thermopolis"}
    assert changed.external_id == "4711" and changed.username == "mia@school.example"
    flat = user({"op": "Add", "value": {"name.givenName": "M", "displayName": "Mia T", "active": True}})
    assert (flat.about["name"]["givenName"], flat.about["displayName"]) == ("M", "Mia T")
    there = user({"op": "Add", "path": 'emails[type eq "other"].value', "value": "o@x"})
    assert there.about["emails"][2] == {"value": "o@x", "type": "other"}


def test_what_entra_and_okta_send_of_members() -> None:
    assert group({"op": "Add", "path": "members", "value": [{"$ref": None, "value": "p1"}]}).more == {"p1"}
    for gone in (
        {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": "p1"}]},
        {"op": "remove", "path": 'members[value eq "p1"]'},
    ):
        assert group(gone) == Membership(None, frozenset(), frozenset({"p1"}))
    assert group({"op": "remove", "path": "members"}) == Membership(frozenset())
    assert group({"op": "replace", "path": "members", "value": [{"value": "p1"}]}).of({"p2"}) == {"p1"}
    assert group({"op": "replace", "value": {"id": "g", "displayName": "x"}}) == Membership()
    both = group({"op": "add", "path": "members", "value": [{"value": "p1"}]}, {"op": "remove", "path": "members"},
                 {"op": "add", "path": "members", "value": [{"value": "p3"}]})  # fmt: skip
    assert both.of({"p2"}) == {"p3"}, "the last word counts"


def test_what_okta_sends_of_users() -> None:
    assert not user({"op": "replace", "value": {"active": False}}).active


@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "replace"]), st.sets(st.sampled_from("abcd"))), max_size=6),
    st.sets(st.sampled_from("abcd")),
)
def test_members_are_what_one_operation_after_the_other_makes_them(steps: Any, before: set[str]) -> None:
    expected = set(before)
    operations = []
    for op, who in steps:
        if op == "remove" and not who:
            expected = set()
        else:
            expected = {"add": expected | who, "remove": expected - who, "replace": set(who)}[op]
        operations.append({"op": op, "path": "members", "value": [{"value": each} for each in who]})
    assert not operations or group(*operations).of(before) == expected


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "move", "path": "active"}, "bad_value"),
        ({"op": "remove"}, "no_target"),
        ({"op": "add", "value": "x"}, "bad_value"),
        ({"op": "replace", "path": "shoeSize", "value": 1}, "bad_path"),
        ({"op": "replace", "path": "name.nick", "value": "x"}, "bad_path"),
        ({"op": "replace", "path": "emails[value co \"x\"].value", "value": "x"}, "bad_filter"),
        ({"op": "replace", "path": "emails[", "value": "x"}, "bad_path"),
        ({"op": "remove", "path": "userName"}, "bad_value"),
        ({"op": "replace", "path": "active", "value": "perhaps"}, "bad_value"),
        ({"op": "replace", "path": "displayName", "value": "a\u202eb"}, "bad_value"),
        ({"op": "replace", "path": "displayName", "value": "x" * 2**20}, "bad_value"),
        ({"op": "replace", "path": "userName", "value": {"a": 1}}, "bad_value"),
        ("replace", "bad_value"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(operation: Any, code: str) -> None:
    with pytest.raises(Misasked) as caught:
        user(operation)
    assert caught.value.code == code and caught.value.hint


def test_a_patch_without_operations() -> None:
    for body in ({}, {"Operations": []}, {"Operations": {}}, {"Operations": [{"op": "add"}] * 1001}):
        with pytest.raises(Misasked):
            patch.operations(body)


def test_filters() -> None:
    known = ("userName", "externalId", "active", "id")
    for text, found in (
        ('userName eq "mia"', {"userName": "mia"}),
        ('USERNAME Eq "mia \\"x\\" \\u00e9"', {"userName": 'mia "x" é'}),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "a and b"', {"userName": "a and b"}),
        ('externalId eq "1" AND active eq True', {"externalId": "1", "active": True}),
    ):
        assert filters.clauses(text, known) == found
    for text in (
        "", "userName", 'userName co "a"', 'userName eq mia', 'userName eq "a" or id eq "b"', '(userName eq "a")',
        'not (userName eq "a")', 'password eq "x"', 'userName eq "a" userName eq "b"', 'userName eq "a" and ',
        'userName eq "a" and userName eq "b"', 'userName eq "\\x"', "x" * 2000, 'userName pr',
    ):  # fmt: skip
        with pytest.raises(Misasked) as caught:
            filters.clauses(text, known)
        assert caught.value.code == "bad_filter", text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    | st.sampled_from(["active", "emails", "members", "name.givenName", 'members[value eq "p"]', "add", "remove"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["op", "path", "value", "x"]), inner),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_whatever_is_sent_is_done_or_refused(value: Any) -> None:
    for act in (user, group):
        try:
            act(value) if isinstance(value, dict) else act({"op": "add", "path": "emails", "value": value})
        except IntramuralError as error:
            assert error.hint
    try:
        parse.wanted({"userName": value, "name": value, "emails": value})
        parse.wanted_group({"displayName": "x", "members": value})
    except IntramuralError as error:
        assert error.hint
